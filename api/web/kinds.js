// The modalities of queries: their names on the page, and the files that contain them.
//
// `files` are sorts of files (image, npy, json, text); `drawn` marks what only the service can turn into a picture to
// look at; `short` is for where there is little room. A modality that is not here, of a model that has more, goes by its own name and may be in any file.

const KINDS = {
  rgb: { name: "picture", files: ["image"] },
  canny_edge: { name: "drawing", files: ["image"] },
  sam_edge: { name: "outlines", files: ["image"] },
  depth: { name: "depth map", short: "depth", files: ["image", "npy"], drawn: true },
  normal: { name: "surface normals", short: "normals", files: ["image", "npy"] },
  semseg: { name: "segmentation", short: "segments", files: ["image", "npy"], drawn: true },
  bounding_boxes: { name: "boxes", files: ["json"], drawn: true },
  human_pose: { name: "poses", files: ["json"], drawn: true },
  sam_instance: { name: "instances", files: ["json"] },
  metadata: { name: "metadata", files: ["json"] },
  color_palette: { name: "colours", files: ["json"] },
  caption: { name: "words", files: ["text"] },
  clip: { name: "CLIP features", files: ["npy"], drawn: true },
  dinov2: { name: "DINOv2 features", files: ["npy"], drawn: true },
  imagebind: { name: "ImageBind features", files: ["npy"], drawn: true },
  dinov2_global: { name: "DINOv2 vector", files: ["npy"] },
  imagebind_global: { name: "ImageBind vector", files: ["npy"] },
  t5_caption: { name: "T5 states", files: ["npy"] },
  item: { name: "more like", files: [] },
};
const FILES = [["npy", /\.(npy|npz|exr)$/i], ["json", /\.json$/i], ["text", /\.txt$/i]];

export const kind = (modality) =>
  KINDS[modality] ?? { name: modality.replaceAll("_", " "), files: ["image", "npy", "json"] };

// The sort of a file by the ending of its name, image by default.
export const sortOf = (file) => FILES.find(([, ending]) => ending.test(file.name))?.[0] ?? "image";

// The modalities among `modalities` that such a file may hold, in the order of the table.
export const kindsOf = (file, modalities) => inOrder(modalities).filter((name) => kind(name).files.includes(sortOf(file)));

export function inOrder(modalities) {
  const order = Object.keys(KINDS);
  const place = (modality) => (order.includes(modality) ? order.indexOf(modality) : order.length);
  return [...modalities].sort((a, b) => place(a) - place(b));
}
