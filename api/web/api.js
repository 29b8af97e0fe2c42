// Talking to the service. A refusal is a `Problem` whose message is a sentence for people.

import { t } from "./language.js";

export class Problem extends Error {
  constructor(status, type, detail) {
    super(detail);
    this.status = status;
    this.type = type;
  }
}

const KEY = "anyseek-api-key";

export const keys = {
  get: () => sessionStorage.getItem(KEY),
  set: (key) => sessionStorage.setItem(KEY, key),
};

// Told whether the service answered, at each request.
let onReach = () => {};
export const watchReachability = (callback) => (onReach = callback);

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (keys.get()) headers.authorization = `Bearer ${keys.get()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    onReach(false);
    throw new Problem(0, "unreachable", t("problem.unreachable"));
  }
  onReach(true);
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, problem.type, problem.detail ?? t("problem.status", { status: answer.status }));
}

const json = async (path, options) => (await send(path, options)).json();
const collectionPath = (name) => `/v1/collections/${encodeURIComponent(name)}`;

// "ready" or "loading"; throws what keeps the model from being loaded.
export async function readiness() {
  const { model } = await json("/healthz");
  if (model === "failed") await send("/readyz");
  return model;
}

export const collections = async () => (await json("/v1/collections")).collections;
export const models = async () => (await json("/v1/models")).models;

export const facets = async (collection) => (await json(`${collectionPath(collection)}/facets?fields=100`)).fields;
export const map = (collection, parameters) => json(`${collectionPath(collection)}/map?${new URLSearchParams(parameters)}`);
export const item = (collection, key) => json(`${collectionPath(collection)}/items/${encodeURIComponent(key)}`);

// A page of items: {items, next}, in the order of `sort`, those that pass `where` and are directly in `folder`.
export function items(collection, { limit, after, sort, where, folder = null }, signal) {
  const parameters = new URLSearchParams({ limit, ...(sort && { sort }), ...(where && { where }), ...(after && { after }), ...(folder !== null && { folder }) });
  return json(`${collectionPath(collection)}/items?${parameters}`, { signal });
}

// The folders directly in `folder`, as slashes in the keys make them: [{path, items, cover}].
export const foldersOf = async (collection, folder, signal) =>
  (await json(`${collectionPath(collection)}/folders?folder=${encodeURIComponent(folder)}`, { signal })).folders;

export function query(collection, parts, { k, where, least, explain_keys }, signal) {
  return json(`${collectionPath(collection)}/query`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ parts, k, explain_keys, ...(where && { where }), ...(least > 0 && { min_probability: least }) }),
    signal,
  });
}

// What the service's model predicts of one part of a query: [{modality, value, files, confidence}].
export async function predict({ modality = "caption", text, data, classes, box, form }, targets) {
  return (await post("/v1/predict", { inputs: [{ modality, text, data, classes, box, form }], targets })).predictions;
}

// A file of an item as it was put.
export const asset = async (collection, key, name) => (await send(assetPath(collection, key, name))).blob();

export const assetPath = (collection, key, name) =>
  `${collectionPath(collection)}/assets/${encodeURIComponent(name)}/${encodeURIComponent(key)}`;

// A map or boxes as a picture that can be shown: a data: URL.
export async function preview(body) {
  const answer = await send("/v1/previews", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return `data:image/png;base64,${await base64(await answer.blob())}`;
}

// Shows a picture of an item in `image`. With an API key it must be fetched by hand: an <img> sends no headers.
export async function showPicture(image, collection, key, name = "thumbnail") {
  const path = assetPath(collection, key, name);
  if (!keys.get()) {
    image.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

const post = (path, body) =>
  json(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export const createCollection = (name) => post("/v1/collections", { name });
export const startJob = (collection, source) => post(`${collectionPath(collection)}/jobs`, { source });
export const failures = async (job) => (await json(`/v1/jobs/${job}/failures`)).failures;

// The folders in `path` from which jobs may be started; without it those that the service allows.
export const folders = async (path) => (await json(`/v1/folders${path ? `?path=${encodeURIComponent(path)}` : ""}`)).folders;

// Puts a picture into a collection under `key`.
export function putPicture(collection, key, file) {
  const form = new FormData();
  form.append("rgb", file, file.name);
  return json(`${collectionPath(collection)}/items/${encodeURIComponent(key)}`, { method: "PUT", body: form });
}

// Follows a job: `onEvent` is called with its progress; resolves to its last state. By fetch, as EventSource sends no key.
export async function watchJob(job, onEvent, signal) {
  const reader = (await send(`/v1/jobs/${job}/events`, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let last = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return last;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const data of events.map((event) => event.match(/^data: (.*)$/m)?.[1]).filter(Boolean)) {
      last = JSON.parse(data);
      onEvent(last);
    }
  }
}

export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Problem(0, "file", t("problem.unreadable", { file: blob.name ?? t("problem.file") })));
    reader.readAsDataURL(blob);
  });
}
