// What a part looks like. Maps and boxes are drawn by the service, once for each part and kind.

import { base64, preview } from "./api.js";
import { make } from "./dom.js";
import { kind } from "./kinds.js";
import { swatch } from "./palette.js";

const drawn = new WeakMap(); // part -> { kind, url: a promise }

// An element for the part: a picture, stripes of colour, or braces for values without a picture.
export function lookOf(part) {
  if (part.colours) return make("span", { class: "stripes" }, ...part.colours.map((colour) => swatch(colour, colour)));
  if (part.kind === "caption") return make("span", { class: "glyph quote", "aria-hidden": "true" }, "“");
  const isDrawn = Boolean(kind(part.kind).drawn) && !part.strokes;
  const image = make("img", { alt: "", class: isDrawn && "drawn" });
  image.addEventListener("error", () => image.replaceWith(braces()), { once: true });
  if (isDrawn) show(image, part);
  else if (part.url) image.src = part.url;
  else return braces();
  return image;
}

const braces = () => make("span", { class: "glyph", "aria-hidden": "true" }, "{ }");

async function show(image, part) {
  if (drawn.get(part)?.kind !== part.kind) drawn.set(part, { kind: part.kind, url: draw(part) });
  try {
    image.src = await drawn.get(part).url;
  } catch {
    image.dispatchEvent(new Event("error")); // a search with it says why
  }
}

async function draw(part) {
  part.data ??= await base64(part.file);
  const { data, classes, picture } = part;
  return preview({ modality: part.kind, data, classes, picture, shaded: part.kind === "depth", name: part.name ?? part.file?.name });
}
