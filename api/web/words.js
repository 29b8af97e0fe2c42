// What people call what the service has its own words for.

import { date, listed, named, percent, t } from "./language.js";

// In which manner hits were found: the sense of an embedding space.
export const manner = (space) =>
  listed(space.split("+").map((one) => named(`space.${one}`, t("space.other", { name: one.replaceAll("_", " ") }))));

// What the slider stands for: the least probability of a hit.
export const SURENESS = [0, 0.3, 0.5, 0.7, 0.9];
const UNSURE = 0.5;

// Hits have probabilities where the query is the name of a thing.
export const isRated = ({ probability }) => typeof probability === "number";
export const isUnsure = (hit) => isRated(hit) && hit.probability < UNSURE;

export const surenessText = (least) => (least > 0 ? t("results.at-least", { share: percent(least) }) : t("results.any"));

// What nobody wrote is marked wherever its name stands: "predicted.shows.value" is "shows (predicted)".
export function fieldName(field) {
  const [, predicted] = /^predicted\.(.+?)(?:\.value)?$/.exec(field) ?? [];
  return predicted ? t("field.predicted", { field: fieldName(predicted) }) : named(`field.${field}`, field.replaceAll(/[._]/g, " "));
}

// A date as people read it; the text itself where it is none. Times are shown as the camera wrote them.
export function readableDate(written) {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d))?/.exec(written) ?? [];
  if (!day || Number.isNaN(Date.parse(day))) return String(written);
  const moment = new Date(`${day}T${time ?? "00:00"}Z`);
  return Number.isNaN(moment.getTime()) ? String(written) : date(moment, { dateStyle: "long", ...(time && { timeStyle: "short" }) });
}

export function month(written) {
  const [, day] = /^(\d{4}-\d\d)/.exec(written ?? "") ?? [];
  if (!day || Number.isNaN(Date.parse(`${day}-01`))) return t("results.undated");
  return date(new Date(`${day}-01T00:00Z`), { month: "long", year: "numeric" });
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
  if (seconds == null) return t("time.unknown");
  if (seconds < 10) return t("time.moment");
  if (seconds < 90) return t("time.seconds", { count: Math.round(seconds / 10) * 10 });
  const minutes = seconds / 60, hours = minutes / 60;
  if (minutes < 90) return t("time.minutes", { count: minutes < 30 ? Math.round(minutes) : 5 * Math.round(minutes / 5) });
  return hours < 48 ? t("time.hours", { count: Math.round(hours) }) : t("time.days", { count: Math.round(hours / 24) });
}
