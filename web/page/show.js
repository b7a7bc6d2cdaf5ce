// Samples as pixels of a canvas. What a canvas cannot show, it shows approximately: samples themselves are never changed.
import { palette } from "./neuralcodec.js";

/// ImageData of samples (height, width, bands) of a frame.
export function toImageData(frame, samples, width, height, bands) {
  const image = new ImageData(width, height), out = image.data, colours = palette(frame);
  const scaled = range(frame, samples);
  for (let i = 0, at = 0, from = 0; i < width * height; i++, at += 4, from += bands) {
    const rgba = colours ? paletted(colours, samples[from]) : colour(frame, samples, from, bands, scaled);
    for (let channel = 0; channel < 4; channel++) out[at + channel] = rgba[channel];
  }
  return image;
}

/// Numbers that are no bytes lie between the smallest and the largest.
function range({ kind, bits }, samples) {
  if (kind === "unsigned" && bits === 8) return Number;
  let least = Infinity, most = -Infinity;
  for (const sample of samples) {
    const number = Number(sample);
    if (number < least) least = number;
    if (number > most) most = number;
  }
  const scale = 255 / (most - least || 1);
  return (sample) => (Number(sample) - least) * scale;
}

function colour({ mode }, samples, from, bands, scaled) {
  const [a, b, c, d] = Array.from({ length: Math.min(bands, 4) }, (_, band) => scaled(samples[from + band]));
  if (mode === "CMYK") return [a, b, c].map((ink) => (255 - ink) * (255 - d) / 255).concat(255);
  if (bands === 1) return [a, a, a, 255];
  if (bands === 2) return [a, a, a, b];
  return [a, b, c, bands === 3 || mode === "RGBX" ? 255 : d];
}

function paletted({ mode, colours }, index) {
  const size = mode.length, entry = colours.subarray(index * size, (index + 1) * size);
  if (mode === "CMYK") return Array.from(entry.subarray(0, 3), (ink) => (255 - ink) * (255 - entry[3]) / 255).concat(255);
  return [entry[0] ?? 0, entry[1] ?? 0, entry[2] ?? 0, entry[3] ?? 255];
}
