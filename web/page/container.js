// Header and chunks of a file. docs/format.md: File, Body, Modes, Metadata, Methods.

export class FormatError extends Error { name = "FormatError"; }
export class TruncatedError extends FormatError { name = "TruncatedError"; }
export class LimitError extends FormatError { name = "LimitError"; }
export class UnsupportedError extends Error { name = "UnsupportedError"; }

export const METHODS = { 0: "RAW", 1: "FILTERED", 2: "WEBP", 3: "PREDICTOR", 4: "JPEG", 16: "PHOTO", 17: "BITSWAP", 18: "PATCH" };
export const PHOTO = 16, BITSWAP = 17;
const UNEVEN = 128;  // added to the method of a segment whose cells have unequal widths
const RANKED = 64, RANKING = [4, 16, 17, 18];  // added to the method of a segment of ranks, and which methods these are
const PIXELS_A_BYTE = { 0: 3, 1: 16, 2: 16, 3: 19, 4: 13, 16: 16, 17: 18, 18: 19 };  // log2
const KINDS = ["unsigned", "signed", "float"];
const DEPTHS = [[1, 8, 16, 32, 64], [8, 16, 32, 64], [16, 32, 64]];
const NAMES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV",
  "I;16", "I;16L", "I;16B", "I;16N", "I", "F"];
const BANDS = [1, 1, 2, 2, 1, 2, 3, 4, 4, 4, 4, 3, 3, 3, 1, 1, 1, 1, 1, 1];
const PALETTE = 4, AXES = 8, LAST_METADATA = 10;
const NEWER = "the file is damaged, or newer than this page";

export function check(condition, message, kind = FormatError) {
  if (!condition) throw new kind(message);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

export function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]) & 255];
  return ~crc >>> 0;
}

export class Fields {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  get left() { return this.bytes.length - this.at; }
  take(count) {
    check(count <= this.left, "the file is shorter than it says: it is truncated", TruncatedError);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }
  rest() { return this.take(this.left); }
  u8() { return this.take(1)[0]; }
  u32() { const b = this.take(4); return (b[0] | b[1] << 8 | b[2] << 16 | b[3] << 24) >>> 0; }
  varint() {
    let number = 0;
    for (let scale = 1; scale < 2 ** 63; scale *= 128) {
      const byte = this.u8();
      number += (byte & 127) * scale;
      if (byte < 128) {
        check(byte || scale === 1, "a number takes more bytes than it needs: the file is damaged");
        check(Number.isSafeInteger(number), "a number is too large: the file is damaged");
        return number;
      }
    }
    throw new FormatError("a number is too large: the file is damaged");
  }
}

/// What a file says of itself. `frames` have their image, duration, metadata (Map of type to bytes) and segments, whose
/// `parts` are {left, top, width, height, payload}. All checksums of header and chunks are verified.
export function parse(bytes, maxPixels) {
  const fields = new Fields(bytes);
  const magic = String.fromCharCode(...fields.take(Math.min(8, fields.left)));
  check(magic === "\x89IFL\r\n\x1a\n" || magic === "\x89BSW\r\n\x1a\n", "this is no .ifl or .bsw file");
  check(fields.u8() === 1, `a version that is not known: ${NEWER}`, UnsupportedError);
  const size = fields.varint();
  check(size <= 1 << 20, "the header is too long", LimitError);
  const body = new Fields(fields.take(size));
  const crc = crc32(bytes.subarray(0, fields.at));
  check(fields.u32() === crc, "the header differs from its checksum: the file is damaged");

  const lengths = [];  // of chunks, each with what takes its payload
  const flags = body.u8();
  check(flags < 2, `a flag that is not known: ${NEWER}`, UnsupportedError);
  const model = flags ? Array.from(body.take(8), (b) => b.toString(16).padStart(2, "0")).join("") : null;
  let image = readImage(body);
  const common = readTable(body, lengths);
  const count = body.varint();
  check(count >= 1 && count <= body.left, "an impossible number of frames: the file is damaged");
  const frames = [];
  for (let i = 0; i < count; i++) {
    const flags = body.u8();
    check(flags < 8, `a frame's flag that is not known: ${NEWER}`, UnsupportedError);
    const duration = flags & 1 ? body.varint() : null;
    if (flags & 2) {
      const other = readImage(body);
      check(JSON.stringify(other) !== JSON.stringify(image), "an image is repeated: the file is damaged");
      image = other;
    }
    const own = flags & 4 ? readTable(body, lengths) : new Map();
    check(!(flags & 4) || own.size, "a frame's table of metadata is empty: the file is damaged");
    frames.push(readFrame(body, image, duration, common, own, lengths, maxPixels));
  }
  check(!body.left, "bytes are left over in the header: the file is damaged");
  const needed = frames.some((frame) => frame.segments.some((segment) => segment.method >= PHOTO));
  check(needed === (model !== null), "a model is named that is not needed, or the other way round: the file is damaged");

  lengths.forEach(({ length, put }, number) => {
    const payload = fields.take(length);
    const told = crc32(payload, crc32(Uint8Array.of(number, number >> 8, number >> 16, number >>> 24), crc));
    check(fields.u32() === told, "a chunk differs from its checksum: the file is damaged");
    put(payload);
  });
  check(!fields.left, "bytes are left over behind the last chunk: the file is damaged");
  for (const frame of frames) checkSizes(frame);
  return { format: magic.slice(1, 4) === "IFL" ? "ifl" : "bsw", model, frames, size: bytes.length };
}

function readImage(body) {
  const code = body.varint();
  let kind = 0, bits = 8;
  if (!code) {
    const sample = body.u8();
    kind = sample >> 6, bits = (sample & 63) + 1;
    check(DEPTHS[kind]?.includes(bits), `samples of a type that is not known: ${NEWER}`, UnsupportedError);
  } else {
    check(code <= NAMES.length, `a mode that is not known: ${NEWER}`, UnsupportedError);
    if (code === 1) bits = 1;
    if (code >= 15) bits = code >= 19 ? 32 : 16;
    if (code >= 19) kind = code - 18;
  }
  const width = body.varint(), height = body.varint();
  check(width && height && width < 2 ** 31 && height < 2 ** 31, "an impossible size: the file is damaged");
  return { mode: code ? NAMES[code - 1] : "", bands: code ? BANDS[code - 1] : 0, kind: KINDS[kind], bits, width, height };
}

function readTable(body, lengths) {
  const table = new Map();
  const count = body.varint();
  check(count <= LAST_METADATA, `metadata that are not known: ${NEWER}`, UnsupportedError);
  let last = 0;
  for (let i = 0; i < count; i++) {
    const type = body.varint(), length = body.varint();
    check(type > last, "metadata out of order: the file is damaged");
    check(type <= LAST_METADATA, `metadata that are not known: ${NEWER}`, UnsupportedError);
    check(length <= 16 << 20, "metadata are too long", LimitError);
    table.set(last = type, null);
    lengths.push({ length, put: (payload) => table.set(type, payload) });
  }
  return table;
}

function readFrame(body, image, duration, common, own, lengths, maxPixels) {
  const { width, height } = image, segments = [];
  const count = body.varint();
  check(count >= 1 && count <= body.left, "an impossible number of segments: the file is damaged");
  for (let i = 0; i < count; i++) {
    const code = body.varint(), bands = body.varint(), uneven = [PHOTO, BITSWAP, PHOTO + RANKED, BITSWAP + RANKED].includes(code - UNEVEN);
    const base = uneven ? code - UNEVEN : code, ranked = RANKING.includes(base - RANKED), method = ranked ? base - RANKED : base;
    check(METHODS[method], `method ${code} is not known: ${NEWER}`, UnsupportedError);
    check(bands >= 1, "a segment without bands: the file is damaged");
    const tiled = method === PHOTO || method === BITSWAP;
    const tileWidth = tiled ? body.varint() : width, tileHeight = tiled ? body.varint() : height;
    check(tileWidth && tileHeight, "a tile is empty: the file is damaged");
    check(method !== PHOTO || Math.max(tileWidth, tileHeight) <= 512, "a tile is too large: the file is damaged");
    const meanings = ranked ? readRanks(body, image, bands) : null;
    const cells = uneven ? readCells(body, image, bands) : new Uint8Array();
    check(Math.ceil(width / tileWidth) * Math.ceil(height / tileHeight) <= body.left, "more tiles than lengths: the file is damaged");
    const parts = [];
    for (let top = 0; top < height; top += tileHeight)
      for (let left = 0; left < width; left += tileWidth) {
        const part = { left, top, width: Math.min(tileWidth, width - left), height: Math.min(tileHeight, height - top) };
        lengths.push({ length: body.varint(), put: (payload) => part.payload = payload });
        parts.push(part);
      }
    segments.push({ method, name: METHODS[method], bands, tileWidth, tileHeight, meanings, cells, parts });
  }
  const stored = segments.reduce((sum, segment) => sum + segment.bands, 0), halves = image.bits === 64 ? 2 : 1;
  check(stored % halves === 0 && (!image.mode || stored === image.bands), "the bands do not add up: the file is damaged");
  check(width * height * Math.ceil(stored / 4) <= maxPixels, `the image has more than ${maxPixels} pixels`, LimitError);
  // Bytes of a stored sample: halves of those of 8 bytes.
  const wordSize = Math.min(4, Math.ceil(image.bits / 8));
  for (const { method, bands } of segments) {
    check(method < 2 || method === 16 || wordSize === 1, `method ${METHODS[method]} takes samples of 8 bits: the file is damaged`);
    check(method < 16 || (wordSize <= 2 && (bands === 1 || bands === 3)), "no network codes such samples: the file is damaged");
  }
  const frame = { ...image, bands: stored / halves, duration, wordSize, segments, common, own };
  return Object.defineProperty(frame, "metadata", { get: () => new Map([...common, ...own]) });
}

/// Of a segment of ranks, for each band the sample that a rank means, -1 for none.
function readRanks(body, { bits }, bands) {
  check(bits === 8, "ranks of samples that have not 8 bits: the file is damaged");
  const meanings = [];
  let gaps = 0;
  for (let band = 0; band < bands; band++) {
    const first = body.u8(), table = body.take(32), meaning = new Int16Array(256).fill(-1);
    const occurring = [...Array(256).keys()].filter((sample) => table[sample >> 3] >> (sample & 7) & 1);
    check(occurring.length && first + occurring.length <= 256, "no samples occur, or ranks end beyond 255: the file is damaged");
    meaning.set(occurring, first);
    meanings.push(meaning);
    gaps += 256 - occurring.length;
  }
  check(gaps, "ranks where all samples occur: the file is damaged");
  return meanings;
}

/// Of a segment whose cells have unequal widths, the 255 edges of each band, as signed bytes.
function readCells(body, { bits }, bands) {
  check(bits === 8, "cells of samples that have not 8 bits: the file is damaged");
  const cells = body.take(255 * bands), moves = new Int8Array(cells);
  for (let band = 0; band < bands; band++) {
    const edges = [0, ...moves.subarray(255 * band, 255 * band + 255), 0];
    check(edges.every((move, i) => Math.abs(move) < 64 && (!i || 64 + move > edges[i - 1])), "edges of cells that do not rise: the file is damaged");
  }
  return cells;
}

function checkSizes(frame) {
  for (const { method, parts } of frame.segments) {
    const bytes = parts.reduce((sum, part) => sum + part.payload.length, 0);
    check(frame.width * frame.height <= bytes * 2 ** PIXELS_A_BYTE[method], "more pixels than the payload can hold: the file is damaged");
  }
}

/// The palette of a frame in mode P or PA: {mode, colours}; null without one.
export function palette(frame) {
  const payload = frame.metadata.get(PALETTE);
  if (!payload) return null;
  const fields = new Fields(payload);
  const mode = String.fromCharCode(...fields.take(fields.u8()));
  check(["RGB", "RGBA", "CMYK"].includes(mode), `a palette of a mode that is not known: ${NEWER}`, UnsupportedError);
  return { mode, colours: fields.rest() };
}

/// The axes of an array, whose images lie below each other in the frame: {letters, sizes}; null without any.
export function axes(frame) {
  const payload = frame.metadata.get(AXES);
  if (!payload) return null;
  const fields = new Fields(payload);
  fields.u8();
  const letters = String.fromCharCode(...fields.take(fields.u8()));
  return { letters, sizes: Array.from(letters, () => fields.varint()) };
}
