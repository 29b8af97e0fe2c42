// What the page says of the service: whether it is there, what went wrong, that it needs a key.

import { find } from "./dom.js";

export function showState(kind, text, title = "") {
  find("state").className = `state ${kind}`;
  find("state").title = title;
  find("state").lastElementChild.textContent = text;
}

export function showError(sentence) {
  find("error").textContent = sentence;
  find("error").hidden = false;
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
