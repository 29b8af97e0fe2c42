// What the page says: whether the service is there, that there is nothing, what went wrong.

import { find, make } from "./dom.js";

export function showState(kind, text, title = "") {
  find("state").className = `state ${kind}`;
  find("state").title = title;
  find("state").lastElementChild.textContent = text;
}

export function showError(sentence) {
  find("error").textContent = sentence;
  find("error").hidden = false;
}

// Nothing to show, and what can be done about it.
export function showEmpty(title, ...content) {
  hideMessages();
  find("summary").textContent = "";
  find("results").replaceChildren();
  find("empty").replaceChildren(make("h2", {}, title), ...content);
  find("empty").hidden = false;
}

export function hideMessages() {
  find("error").hidden = find("empty").hidden = true;
}

// Asks for an API key, with what was wrong with the last one; `onKey` is told the one that was given.
export function askForKey(wrong, onKey) {
  const dialog = find("key-dialog");
  find("key-wrong").textContent = wrong ?? "";
  find("key-wrong").hidden = !wrong;
  dialog.onclose = () => {
    const key = find("key").value.trim();
    find("key").value = "";
    if (!key) return;
    hideMessages();
    onKey(key);
  };
  if (!dialog.open) dialog.showModal();
}
