// Payloads to samples, in the thread that calls: methods of docs/format.md by the compiled core. worker.js calls it.
import { check, crc32, Fields, FormatError, LimitError, UnsupportedError } from "./container.js";

export class ChecksumError extends FormatError { name = "ChecksumError"; }
export class UnknownModelError extends FormatError { name = "UnknownModelError"; }

const PYRAMID = ["blocks", "mixtures", "width"];
const FLOW = ["backward_adaptation", "self_ensemble", ...PYRAMID];
const KNOWN = { photo: FLOW, patch: ["frac", "lattice", "pyramid"], bitswap: ["depth", "latents", "likelihood"] };
const POSITIONS = 18;  // input channels of the JPEG block phase

export class Decoder {
  /// `module` is the compiled WebAssembly.Module, `models` the address of the folder with models.
  constructor(module, models) {
    this.module = module;
    this.models = models;
  }

  /// Stored samples (height, width, bands) of a part of a segment: Uint8Array. `job` is what is in the header of it, and
  /// `level`; told({level, height, width, samples}) is called with every coarser level that has a checksum.
  async decode(job, told) {
    try {
      if (!this.core) this.core = await Core.start(this.module);
      this.core.told = told;
      const method = this[job.name.toLowerCase()];
      check(method, `method ${job.name} is not decoded by this page`, UnsupportedError);
      return await method.call(this, job);
    } catch (error) {
      this.core = this.model = null;  // what C++ left behind is given up with its memory
      if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError)
        throw new LimitError(`there is too little memory, or the file is damaged (${error.message})`);
      throw error;
    }
  }

  raw({ payload, width, height, bands, wordSize }) {
    return this.core.call("raw", [payload], width * height * bands * wordSize, height, width, bands, wordSize);
  }

  async webp({ payload, width, height, bands }) {
    const pixels = await browserWebp(payload.subarray(0, -4), width, height);
    const channels = [[0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][bands - 1], out = new Uint8Array(width * height * bands);
    for (let i = 0, at = 0; at < out.length; i += 4) for (const channel of channels) out[at++] = pixels[i + channel];
    return verified(out, payload);
  }

  filtered({ payload, width, height, bands, wordSize }) {
    const body = payload.subarray(0, -4);
    return verified(this.core.call("filtered", [body], width * height * bands * wordSize, height, width, bands, wordSize), payload);
  }

  async jpeg({ payload, width, height, bands }) {
    this.jpegWeights ??= await this.fetched("jpeg.bin", "the weights of method JPEG are not here");
    return this.core.call("jpeg", [payload, this.jpegWeights], width * height * bands, height, width, bands);
  }

  predictor({ payload, width, height, bands }) {
    return this.core.call("predictor", [payload], width * height * bands, height, width, bands);
  }

  async photo({ payload, width, height, bands, wordSize, tileWidth, tileHeight, cells, level, model }) {
    await this.load(model, "photo");
    const count = Math.ceil(height / 2 ** level) * Math.ceil(width / 2 ** level) * bands * wordSize;
    this.core.sampleBytes = bands * wordSize;
    return this.core.call("photo_tile", [payload, cells], count, height, width, bands, tileHeight, tileWidth, wordSize, level);
  }

  async patch({ payload, width, height, bands, model }) {
    await this.load(model, "patch");
    return this.core.call("patch", [payload], width * height * bands, height, width, bands);
  }

  async bitswap({ payload, width, height, bands, cells, model }) {
    await this.load(model, "bitswap");
    return this.core.call("bitswap", [payload, cells], width * height * bands, height, width, bands);
  }

  async fetched(name, otherwise) {
    const answer = await fetch(this.models + name);
    check(answer.ok, otherwise, UnknownModelError);
    return new Uint8Array(await answer.arrayBuffer());
  }

  /// Makes the core hold the model of an id. docs/format.md: Models.
  async load(id, kind) {
    if (this.model === id) return;
    const file = await this.fetched(`${id}.safetensors`, `the model ${id} of this file is not here`);
    const view = new DataView(file.buffer);
    const size = Number(view.getBigUint64(0, true)), text = new TextDecoder().decode(file.subarray(8, 8 + size));
    const header = JSON.parse(text), about = JSON.parse(header.__metadata__.model), architecture = about.architecture;
    check(about.kind === kind, `the model of this file is of the kind ${about.kind}, not ${kind}: the file is damaged`);
    const pyramid = architecture.pyramid ?? architecture.likelihood ?? architecture;
    const knows = (part, names) => Object.keys(part).every((name) => names.includes(name));
    const known = knows(architecture, KNOWN[kind]) && knows(pyramid, kind === "patch" ? PYRAMID : FLOW);
    check(about.semantics === 2 && known, "this model is newer than this page", UnsupportedError);
    const tensor = (name) => {
      const [begin, end] = header[name].data_offsets;
      return file.subarray(8 + size + begin, 8 + size + end);
    };
    const names = Object.keys(header).filter((name) => name.endsWith(".weight")).map((name) => name.slice(0, -7)).sort();
    check(await identity(about, names, header, tensor, this.core.tables()) === id, `the model ${id} is damaged`, UnknownModelError);

    const int32 = (numbers) => new Uint8Array(Int32Array.from(numbers.flat()).buffer), { exports } = this.core;
    this.core.place([int32(pyramid.blocks)], (at) => exports.model_begin(
      pyramid.mixtures, !!pyramid.self_ensemble, !!pyramid.backward_adaptation, pyramid.blocks.length, at));
    if (kind === "patch") this.core.place([int32(architecture.lattice)], (at) => exports.model_patch(architecture.frac, at));
    if (kind === "bitswap") this.core.place([int32(architecture.latents)], (at) =>
      exports.model_bitswap(architecture.depth, architecture.latents.length, at));
    for (const name of names) {
      const [outputs, inputs, side] = header[`${name}.weight`].shape;
      const positions = kind !== "patch" && /^\d+\.\d+\.embed$/.test(name) ? POSITIONS : 0;
      const parts = [new TextEncoder().encode(name), ...["weight", "bias", "shift"].map((part) => tensor(`${name}.${part}`))];
      this.core.place(parts, (text, weight, bias, shift) => exports.model_layer(
        text, parts[0].length, outputs, inputs, side, weight, bias, shift, positions));
    }
    this.model = id;
  }
}

/// An instance of the compiled core.
class Core {
  static async start(module) {
    const core = new Core(), text = new TextDecoder();
    const imports = {
      neuralcodec: {
        fail: (at, size) => {
          const message = text.decode(core.bytes(at, size).slice());
          throw new (message.includes("checksum") ? ChecksumError : FormatError)(message);
        },
        told: (level, at, height, width) =>
          core.told?.({ level, height, width, samples: core.bytes(at, height * width * core.sampleBytes).slice() }),
      },
    };
    for (const { module: from, name } of WebAssembly.Module.imports(module))  // what only an abort would call
      imports[from] = { [name]: () => { throw new WebAssembly.RuntimeError(name); }, ...imports[from] };
    core.exports = (await WebAssembly.instantiate(module, imports)).exports;
    core.exports._initialize();
    return core;
  }

  bytes(at, size) { return new Uint8Array(this.exports.memory.buffer, at, size); }

  /// Calls work with the places of copies of `arrays` in the core's memory.
  place(arrays, work) {
    const places = arrays.map((array) => {
      const at = this.exports.allocate(array.length || 1);
      if (!at) throw new RangeError("out of memory");
      this.bytes(at, array.length).set(array);
      return at;
    });
    const result = work(...places);
    places.forEach((at) => this.exports.release(at));
    return result;
  }

  /// Calls a function with the places and sizes of arrays and some numbers: a copy of the bytes that it returns.
  call(name, arrays, count, ...numbers) {
    const at = this.place(arrays, (...places) =>
      this.exports[name](...places.flatMap((place, i) => [place, arrays[i].length]), ...numbers));
    return this.bytes(at, count).slice();
  }

  tables() { return this.bytes(this.exports.tables(), 8 * (2 * 18432 + 1 + 337 + 257)).slice(); }
}

function verified(samples, payload) {
  check(crc32(samples) === new Fields(payload.subarray(-4)).u32(),
    "the samples differ from their checksum: the file is damaged", ChecksumError);
  return samples;
}

/// RGBA of a VP8L bitstream, by the browser. A texture keeps its bytes as they are; a canvas would multiply them by alpha.
/// docs/format.md: WebP.
async function browserWebp(body, width, height) {
  const padded = body.length + body.length % 2, riff = new Uint8Array(20 + padded), view = new DataView(riff.buffer);
  riff.set(new TextEncoder().encode("RIFF\0\0\0\0WEBPVP8L"));
  view.setUint32(4, 12 + padded, true), view.setUint32(16, body.length, true);
  riff.set(body, 20);
  const gl = globalThis.OffscreenCanvas && new OffscreenCanvas(1, 1).getContext("webgl2");
  check(gl && Math.max(width, height) <= gl.getParameter(gl.MAX_TEXTURE_SIZE),
    "method WEBP is not decoded here: the browser has no WebGL, or the image is too large for it", UnsupportedError);
  const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const image = await createImageBitmap(new Blob([riff], { type: "image/webp" }), options).catch((error) => {
    throw new FormatError(`the WebP data are damaged (${error.message})`);
  });
  check(image.width === width && image.height === height, "the WebP data are of another size: the file is damaged");
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  image.close();
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return pixels;
}

/// The id that a model's contents have: 8 bytes of a SHA-256, in hexadecimal. Browsers have one on pages from localhost
/// and over https; elsewhere the checksums of pixels alone tell a wrong model.
async function identity(about, names, header, tensor, tables) {
  if (!globalThis.crypto?.subtle) return about.id;
  const hash = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const logarithms = BigInt64Array.from({ length: 4097 }, (_, i) => BigInt(Math.round(2 ** 20 * Math.log1p(i / 4096))));
  const { architecture, kind, semantics } = about, text = new TextEncoder(), parts = [];
  const add = (item) => parts.push(new Uint8Array(BigUint64Array.of(BigInt(item.length)).buffer), item);
  add(text.encode(sorted({
    architecture, kind, semantics, tables: hex(await hash(tables)), logarithms: hex(await hash(logarithms)),
  })));
  for (const name of names) {
    add(text.encode(name));
    const end = name.split(".").pop(), shape = new Uint8Array(Uint32Array.from(header[`${name}.weight`].shape).buffer);
    add(Uint8Array.of(...shape, end === "embed", end === "head" || end === "matrix"));
    for (const part of ["weight", "bias", "shift"]) add(tensor(`${name}.${part}`));
  }
  return hex((await hash(await new Blob(parts).arrayBuffer())).subarray(0, 8));
}

/// Compact JSON with sorted keys.
function sorted(value) {
  if (Array.isArray(value)) return `[${value.map(sorted)}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${sorted(value[key])}`)}}`;
}
