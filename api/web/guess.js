// Guesses the modality of a file by its name, its format and its pixels.

import { sortOf } from "./kinds.js";

const SIDE = 64; // pixels that are looked at, each way
const HEADER = 128;
const FEW_COLOURS = 24;
const NAMES = [
  ["depth", /depth|disparity/i], ["normal", /normals?([^a-z]|$)/i], ["semseg", /semseg|segment|labels|regions/i],
  ["canny_edge", /sketch|drawing|edges?([^a-z]|$)/i],
];

// The likeliest modality; a name that matches one of `kinds` decides.
export function guess(file, kinds) {
  const named = NAMES.find(([, name]) => name.test(file.name))?.[0];
  if (kinds.includes(named)) return named;
  return { json: ofJson, npy: ofArray, image: ofImage, text: () => "caption" }[sortOf(file)](file);
}

async function ofJson(file) {
  try {
    const value = JSON.parse(await file.text());
    if (value.people ?? (value.annotations ?? [value].flat())[0]?.keypoints) return "human_pose"; // key points, which the service explains
    if (!Array.isArray(value)) return "metadata";
    if (typeof value[0] === "string") return "color_palette";
    if (value[0]?.pose) return "human_pose";
    return value[0]?.point ? "sam_instance" : "bounding_boxes";
  } catch {
    return "metadata"; // the service says what is wrong with it
  }
}

async function ofArray(file) {
  const header = await file.slice(0, HEADER).text();
  const axes = header.match(/'shape': \(([^)]*)\)/)?.[1].split(",").filter((one) => one.trim()).length;
  return { 1: "dinov2_global", 3: "dinov2" }[axes] ?? "depth";
}

async function ofImage(file) {
  const png = await pngFormat(file);
  if (png?.grey && png.bits === 16) return "depth";
  const pixels = await pixelsOf(file);
  if (!pixels) return "rgb";
  if (share(pixels, isUnitNormal) > 0.9) return "normal";
  if (isDrawing(pixels)) return "canny_edge";
  return png?.flat && colours(pixels) <= FEW_COLOURS ? "semseg" : "rgb";
}

// Bits a sample, and whether a PNG has one sample a pixel: grey, or an entry of a palette.
async function pngFormat(file) {
  const bytes = new Uint8Array(await file.slice(0, 26).arrayBuffer());
  if (bytes.length < 26 || bytes[0] !== 0x89 || bytes[1] !== 0x50) return null;
  return { bits: bytes[24], grey: bytes[25] === 0, flat: bytes[25] === 0 || bytes[25] === 3 };
}

// Some of the picture's pixels as [red, green, blue], never blended; null where the browser cannot open it.
async function pixelsOf(file) {
  try {
    const picture = await createImageBitmap(file);
    const context = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE }).getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, SIDE, SIDE);
    context.drawImage(picture, 0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    return Array.from({ length: SIDE * SIDE }, (_, place) => data.slice(4 * place, 4 * place + 3));
  } catch {
    return null;
  }
}

const share = (pixels, holds) => pixels.filter(holds).length / pixels.length;
const colours = (pixels) => new Set(pixels.map((one) => one.join())).size;
const isGrey = ([red, green, blue]) => Math.max(red, green, blue) - Math.min(red, green, blue) < 12;

// Normals are of length 1, and most that a camera sees point at it.
function isUnitNormal([red, green, blue]) {
  const [x, y, z] = [red, green, blue].map((value) => value / 127.5 - 1);
  return Math.abs(Math.hypot(x, y, z) - 1) < 0.12;
}

// Grey throughout, and most of it paper: nearly white, or nearly black with light strokes.
function isDrawing(pixels) {
  const paper = Math.max(share(pixels, ([red]) => red > 235), share(pixels, ([red]) => red < 20));
  return share(pixels, isGrey) > 0.98 && paper > 0.6 && paper < 0.998;
}
