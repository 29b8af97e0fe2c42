// The page in the browser's language: its texts, and how it writes numbers, shares, dates and lists.
//
// The texts are in strings/LANGUAGE.json. `{name}` in one is replaced by the value of that name. A text that depends on a
// number has one for each plural category of the value `count`.

const LANGUAGES = ["en", "de", "fr", "es", "zh"];
const languageOf = (tag) => tag.split("-")[0].toLowerCase();

export const locale = navigator.languages.find((tag) => LANGUAGES.includes(languageOf(tag))) ?? "en";
const language = languageOf(locale);
const strings = await (await fetch(`/web/strings/${language}.json`)).json();
const plurals = new Intl.PluralRules(locale);

export const t = (key, values) => pieces(key, values).join("");

// A text as a list, where values may be elements.
export function pieces(key, values = {}) {
  const forms = strings[key] ?? key;
  const text = typeof forms === "string" ? forms : (forms[plurals.select(values.count)] ?? forms.other);
  const shown = (value) => (typeof value === "number" ? number(value) : value);
  return text.split(/\{(\w+)\}/).map((piece, place) => (place % 2 ? shown(values[piece]) : piece));
}

// A text that not every value of a key has.
export const named = (key, other) => strings[key] ?? other;

// Puts the texts into the elements of the document that name them: data-t is an element's own, data-t-title its title, and so on.
// An element inside a text stands for the value `data-value`.
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  for (const element of document.querySelectorAll("*"))
    for (const { name, value } of [...element.attributes]) {
      if (name === "data-t") element.replaceChildren(...pieces(value, valuesIn(element)));
      else if (name.startsWith("data-t-")) element.setAttribute(name.slice(7), t(value));
    }
}

const valuesIn = (element) => Object.fromEntries([...element.children].map((child) => [child.dataset.value, child]));

export const number = (value, digits) =>
  value.toLocaleString(locale, digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (share) => share.toLocaleString(locale, { style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0 });
export const listed = (values, type = "conjunction") => new Intl.ListFormat(locale, { type }).format(values.map(String));
export const date = (day, options) => day.toLocaleString(locale, { ...options, timeZone: "UTC" });
