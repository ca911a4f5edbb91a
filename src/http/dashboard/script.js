// Keeps the page current: on each change of a verdict, and every few seconds. Without it the page
// is the same, as of when it was loaded.
"use strict";

let waiting = false;

async function refresh() {
  if (waiting || document.hidden) return;
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of document.querySelectorAll("main section[id]")) {
      const fresh = next.getElementById(section.id);
      // Nobody's typing or scrolling is taken away.
      const typed = [...section.querySelectorAll("input:not([type=hidden])")].some((i) => i.value);
      const scrolled = [...section.querySelectorAll(".scroll")].some((part) => part.scrollLeft);
      const busy = typed || scrolled || section.contains(document.activeElement);
      if (fresh && !busy && fresh.innerHTML !== section.innerHTML) {
        section.replaceChildren(...fresh.childNodes);
      }
    }
  } catch {
    // The daemon is away; the next beat tries again.
  } finally {
    waiting = false;
  }
}

function follow() {
  const changes = new EventSource("/v1/changes");
  let soon;
  for (const kind of ["verdict", "reset"]) {
    changes.addEventListener(kind, () => {
      clearTimeout(soon);
      soon = setTimeout(refresh, 500);
    });
  }
}

// Few may follow at once: who only passes by does not.
setTimeout(follow, 2000);
setInterval(refresh, 10000);
