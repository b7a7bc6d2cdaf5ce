// The page: shows a file's coarse levels as they come, then all of it, and what its header says.
import { axes, open } from "./neuralcodec.js";
import { toImageData } from "./show.js";

const at = (id) => document.getElementById(id);
const drop = at("drop"), canvas = at("image"), context = canvas.getContext("2d");
let current = 0;  // number of the file that is shown

/// Shows a file; resolves when it is decoded, or its error is shown.
export async function show(name, bytes) {
  const number = ++current, begin = performance.now();
  at("error").textContent = "", canvas.hidden = true;
  const about = { file: name };
  const tell = () => at("about").replaceChildren(...Object.entries(about).flatMap(([key, text]) => {
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = key, value.textContent = text;
    return [term, value];
  }));
  tell();
  try {
    const file = open(bytes), { width, height, mode, bands, kind, bits } = file.frames[0];
    Object.assign(about, {
      image: `${width} x ${height}, ${mode || "array"}, ${bands} x ${bits} bits ${kind}` + (file.frames.length > 1 ? `, first of ${file.frames.length} frames` : ""),
      size: `${file.size.toLocaleString("en")} bytes, ${file.bitsPerSubpixel.toFixed(3)} bits per subpixel`,
      methods: file.methods.join(", "), ...file.model && { model: file.model },
    });
    const found = axes(file.frames[0]);
    if (found) about.axes = `${found.letters}, ${found.sizes.join(" x ")}: images lie below each other`;
    about.time = "decoding";
    tell();
    canvas.width = width, canvas.height = height, canvas.hidden = false;
    const frame = file.frames[0];
    // Levels of the first segment alone: others are alpha, which is nothing without it.
    const told = (part) => {
      if (number !== current || part.segment || frame.bits > 8 || frame.kind !== "unsigned") return;
      const whole = part.bands === frame.bands, like = { ...frame, mode: whole ? frame.mode : "", metadata: frame.metadata };
      draw(toImageData(like, part.samples, part.width, part.height, part.bands), part.left, part.top, 2 ** part.level);
      about.time = `level ${part.level} after ${Math.round(performance.now() - begin)} ms`;
      tell();
    };
    const pixels = await file.decode({ told });
    if (number !== current) return;
    const seconds = ((performance.now() - begin) / 1000).toFixed(2);
    context.putImageData(toImageData(frame, pixels.samples, width, height, pixels.bands), 0, 0);
    about.time = `${seconds} s, all checksums right`;
    tell();
  } catch (error) {
    if (number !== current) return;
    canvas.hidden = true;  // coarse levels were right, but the file is not
    delete about.time;
    tell();
    at("error").textContent = `${error.name}: ${error.message}`;
  }
}

/// A part of the image, each pixel of it `scale` pixels wide.
function draw(pixels, left, top, scale) {
  const part = new OffscreenCanvas(pixels.width, pixels.height);
  part.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = scale > 1;
  context.drawImage(part, left, top, pixels.width * scale, pixels.height * scale);
}

async function showFile(file) {
  if (file) await show(file.name, await file.arrayBuffer());
}
at("file").onchange = (event) => showFile(event.target.files[0]);
addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  showFile(event.dataTransfer.files[0]);
});

// ?file=ADDRESS shows a file at once.
const address = new URLSearchParams(location.search).get("file");
if (address) fetch(address).then(async (answer) => show(address, await answer.arrayBuffer()));
