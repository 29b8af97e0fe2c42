// What people call what the service has its own words for.

const SPACES = {
  semantic_global: "by meaning",
  visual_global: "by look",
  photo_global: "by look and meaning",
  colours: "by colour",
  clip: "by meaning",
  dinov2_global: "by look",
  imagebind_global: "by meaning",
};
const FIELDS = {
  taken: "date", "camera.make": "camera", "camera.model": "camera model", "place.city": "place", "place.town": "place",
  "place.name": "place", "place.country": "country",
};

// In which manner hits were found: the sense of an embedding space.
export const manner = (space) =>
  space.split("+").map((one) => SPACES[one] ?? `by ${one.replaceAll("_", " ")}`).join(" and ");

// What the slider stands for: the least probability of a hit.
export const SURENESS = [0, 0.3, 0.5, 0.7, 0.9];
const UNSURE = 0.5;

// Hits have probabilities where the query is the name of a thing.
export const isRated = ({ probability }) => typeof probability === "number";
export const isUnsure = (hit) => isRated(hit) && hit.probability < UNSURE;

export const surenessText = (least) => (least > 0 ? `at least ${percent(least)}` : "any");

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`.replace(".0%", "%");

// What nobody wrote is marked wherever its name stands: "predicted.shows.value" is "shows (predicted)".
export function fieldName(field) {
  const [, predicted] = /^predicted\.(.+?)(?:\.value)?$/.exec(field) ?? [];
  return predicted ? `${fieldName(predicted)} (predicted)` : (FIELDS[field] ?? field.replaceAll(/[._]/g, " "));
}

export const counted = (number, what, many = `${what}s`) => `${number.toLocaleString("en")} ${number === 1 ? what : many}`;

// A date as people read it; the text itself where it is none. Times are shown as the camera wrote them.
export function readableDate(written) {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d))?/.exec(written) ?? [];
  if (!day || Number.isNaN(Date.parse(day))) return String(written);
  const shown = new Date(`${day}T00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  return time ? `${shown}, ${time}` : shown;
}

export function month(written) {
  const [, day] = /^(\d{4}-\d\d)/.exec(written ?? "") ?? [];
  if (!day || Number.isNaN(Date.parse(`${day}-01`))) return "Without a date";
  return new Date(`${day}-01T00:00Z`).toLocaleDateString("en-GB", { month: "long", year: "numeric", timeZone: "UTC" });
}

// A place: a text, or the name of the nearest town and country, or coordinates.
export function readablePlace(place) {
  if (typeof place === "string") return place;
  if (!place || typeof place !== "object") return null;
  const named = [place.name, place.city, place.town, place.region, place.country].filter((part) => typeof part === "string");
  if (named.length) return [...new Set(named)].join(", ");
  return typeof place.lat === "number" && typeof place.lon === "number" ? `${place.lat.toFixed(4)}, ${place.lon.toFixed(4)}` : null;
}

// As `time_left` of workers/pace.py says it. A service of an older version tells none.
export function timeLeft(seconds) {
  if (seconds == null) return "estimating the time left";
  if (seconds < 10) return "a few seconds left";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} seconds left`;
  const minutes = seconds / 60, hours = minutes / 60;
  if (minutes < 90) return `about ${minutes < 30 ? Math.round(minutes) : 5 * Math.round(minutes / 5)} minutes left`;
  return hours < 48 ? `about ${Math.round(hours)} hours left` : `about ${Math.round(hours / 24)} days left`;
}
