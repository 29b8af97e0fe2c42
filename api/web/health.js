// Polls the service every few seconds while the page is visible.

import * as api from "./api.js";

const SECONDS = 4;

// `onDisconnect()` and `onReconnect()` are called once per change.
export function watchHealth({ onDisconnect, onReconnect }) {
  let isReachable = true;
  api.watchReachability((hasAnswered) => {
    if (hasAnswered === isReachable) return;
    isReachable = hasAnswered;
    (isReachable ? onReconnect : onDisconnect)();
  });
  const poll = () => document.visibilityState === "visible" && api.readiness().catch(() => {}); // reported by `watchReachability`
  setInterval(poll, SECONDS * 1000);
  document.addEventListener("visibilitychange", poll);
}
