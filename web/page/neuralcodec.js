// Decodes .ifl and .bsw files in a browser, in workers: `open` a file, then `decode` its frames. See docs/web.md.
import { axes, FormatError, LimitError, palette, parse, PHOTO, TruncatedError, UnsupportedError } from "./container.js";
import { ChecksumError, UnknownModelError } from "./decoder.js";

export { axes, ChecksumError, FormatError, LimitError, palette, TruncatedError, UnknownModelError, UnsupportedError };

const ERRORS = { ChecksumError, FormatError, LimitError, UnknownModelError, UnsupportedError };
const HERE = new URL(".", import.meta.url);
let compiled;

/// Reads the header of a file, and verifies its checksums and those of all chunks.
///
/// bytes: Uint8Array or ArrayBuffer. models: address of the folder with models, each as ID.safetensors. workers: threads, at
/// most. maxPixels: of a frame, where each four bands count as one image.
/// Throws FormatError, TruncatedError, LimitError, UnsupportedError.
export function open(bytes, { models = new URL("models/", HERE).href, workers = navigator.hardwareConcurrency ?? 1,
  maxPixels = 2 ** 28 } = {}) {
  return new File(parse(new Uint8Array(bytes), maxPixels), new URL(models, location.href).href, workers);
}

/// A file: `format`, `size` in bytes, `model` (its id, or null), and `frames` with {width, height, mode, bands, kind, bits, duration,
/// metadata, segments}. An array has mode "".
export class File {
  constructor(parsed, models, workers) {
    Object.assign(this, parsed);
    this.options = { models, workers };
  }

  get width() { return this.frames[0].width; }
  get height() { return this.frames[0].height; }
  get mode() { return this.frames[0].mode; }
  get methods() { return [...new Set(this.frames.flatMap((frame) => frame.segments.map((segment) => segment.name)))]; }
  /// Bits for each sample of all frames.
  get bitsPerSubpixel() {
    return 8 * this.size / this.frames.reduce((sum, { width, height, bands }) => sum + width * height * bands, 0);
  }

  /// The samples of a frame, as a typed array (height, width, bands): {samples, width, height, bands}. 16-bit floats come as
  /// Uint16Array, their bits.
  ///
  /// level: every 2**level-th pixel of rows and columns alone, 0 .. 5, of frames that are coded by PHOTO alone, as long as tiles
  /// keep 32 pixels a side. told: called with every tile, and its coarser levels before it, as {segment, level, left, top, width,
  /// height, bands, samples}; samples are stored ones there.
  /// Throws FormatError, ChecksumError, LimitError, UnknownModelError, UnsupportedError: there are no pixels unless all are right.
  async decode({ frame = 0, level = 0, told } = {}) {
    const of = this.frames[frame], step = 2 ** level;
    if (level && of.segments.some((segment) => segment.method !== PHOTO))
      throw new UnsupportedError("only frames that are coded by PHOTO alone have coarser levels");
    const width = Math.ceil(of.width / step), height = Math.ceil(of.height / step), { wordSize } = of;
    const stored = of.segments.reduce((sum, segment) => sum + segment.bands, 0);
    const bytes = allocated(width * height * stored * wordSize);
    const jobs = [];
    let first = 0;
    of.segments.forEach((segment, number) => {
      const { name, bands, tileWidth, tileHeight, cells } = segment, offset = first * wordSize;
      first += bands;
      for (const part of segment.parts) {
        if (level && (part.left % step || part.top % step)) throw new UnsupportedError("tiles do not begin at this level's pixels");
        const tell = ({ level, width, height, samples }) =>
          told?.({ segment: number, level, left: part.left, top: part.top, width, height, bands, samples });
        const tellCoarser = (coarser) => { restore(coarser.samples, segment, of), tell(coarser); };
        const put = (samples) => {
          const place = { left: part.left / step, top: part.top / step, width: Math.ceil(part.width / step), height: Math.ceil(part.height / step) };
          restore(samples, segment, of);
          copy(samples, bands * wordSize, place, bytes, stored * wordSize, width, offset);
          tell({ ...place, level, samples });
        };
        jobs.push({ job: { ...part, name, bands, tileWidth, tileHeight, cells, wordSize, level, model: this.model }, tell: tellCoarser, put });
      }
    });
    await run(jobs, this.options);
    return { samples: typed(bytes, of), width, height, bands: of.bands };
  }
}

function allocated(size) {
  try {
    return new Uint8Array(size);
  } catch (error) {
    throw new LimitError(`there is too little memory for the samples (${error.message})`);
  }
}

/// What a network decodes, ranks or samples, into stored samples, where they lie.
function restore(samples, { method, bands, meanings }, { kind, wordSize }) {
  if (meanings)
    for (let i = 0; i < samples.length; i++) {
      const sample = meanings[i % bands][samples[i]];
      if (sample < 0) throw new FormatError("a rank that no sample has: the file is malformed");
      samples[i] = sample;
    }
  if (method >= PHOTO && kind === "signed") for (let i = wordSize - 1; i < samples.length; i += wordSize) samples[i] ^= 128;
}

/// Stored samples of a tile into those of a frame, some bytes of each pixel.
function copy(samples, size, { left, top, width, height }, bytes, stride, columns, offset) {
  if (size === stride && width === columns) return bytes.set(samples, top * columns * stride);
  for (let y = 0, from = 0; y < height; y++)
    for (let x = 0, to = ((top + y) * columns + left) * stride + offset; x < width; x++, to += stride)
      for (let i = 0; i < size; i++) bytes[to + i] = samples[from++];
}

function typed(bytes, { kind, bits }) {
  const types = {
    unsigned: { 1: Uint8Array, 8: Uint8Array, 16: Uint16Array, 32: Uint32Array, 64: BigUint64Array },
    signed: { 8: Int8Array, 16: Int16Array, 32: Int32Array, 64: BigInt64Array },
    float: { 16: Uint16Array, 32: Float32Array, 64: Float64Array },
  };
  return new types[kind][bits](bytes.buffer);
}

/// Runs jobs in workers; the first error ends all of them.
async function run(jobs, { models, workers }) {
  compiled ??= fetch(new URL("neuralcodec.wasm", HERE)).then(async (answer) => WebAssembly.compile(await answer.arrayBuffer()));
  const module = await compiled, all = [];
  let next = 0;
  try {
    await Promise.all(Array.from({ length: Math.max(1, Math.min(workers, jobs.length)) }, async () => {
      const worker = new Worker(new URL("worker.js", HERE), { type: "module" });
      all.push(worker);
      worker.postMessage({ start: { module, models } });
      while (next < jobs.length) {
        const { job, tell, put } = jobs[next++];
        put(await answered(worker, job, tell));
      }
    }));
  } finally {
    all.forEach((worker) => worker.terminate());
  }
}

function answered(worker, job, tell) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data: { part, samples, error } }) => {
      if (part) tell(part);
      if (samples) resolve(samples);
      if (error) reject(new (ERRORS[error.name] ?? Error)(error.message));
    };
    worker.onerror = (event) => reject(new Error(event.message || "a worker did not start"));
    worker.postMessage({ job });
  });
}
