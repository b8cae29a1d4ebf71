// Brings the page up to date every two seconds. Without it, the page is as it was when it was asked for.
"use strict";
const every = 2000;
async function refresh() {
  const panel = document.getElementById("panel");
  // Who has put the keyboard's focus somewhere, or marked text, is reading.
  const busy = document.hidden || panel.contains(document.activeElement) || !getSelection().isCollapsed;
  if (!busy) {
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("panel");
      if (answer.ok && fresh) {
        fresh.querySelector("#live").textContent = "up to date";
        panel.replaceWith(fresh);
      }
    } catch {
      document.getElementById("live").textContent = "the server does not answer";
    }
  }
  setTimeout(refresh, every);
}
setTimeout(refresh, every);
