// A thread that decodes: it is sent the compiled core, then jobs, one at a time.
import { Decoder } from "./decoder.js";

let decoder;

onmessage = async ({ data: { start, job } }) => {
  if (start) {
    decoder = new Decoder(start.module, start.models);
    return;
  }
  try {
    const samples = await decoder.decode(job, (part) => postMessage({ part }, [part.samples.buffer]));
    postMessage({ samples }, [samples.buffer]);
  } catch (error) {
    postMessage({ error: { name: error.name, message: error.message } });
  }
};
