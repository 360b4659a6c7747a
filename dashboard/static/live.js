// Keeps parts of a page as they are now, by server-sent events. Without it the page shows what was when
// it was loaded, and its forms and links work all the same.
//
// <div data-live-source="/sequences/S/live">
//   <p data-live-state role="status"></p>
//   <div data-live="stage">...</div> <div data-live="queue">...</div>
// </div>
// A part that stands elsewhere on the page, in no source, is kept up to date all the same.
"use strict";

(() => {
  const FIRST_WAIT = 2000, LONGEST_WAIT = 60000, PATIENCE = 5000;

  function keep(source) {
    const url = source.dataset.liveSource;
    const places = [...document.querySelectorAll("[data-live]")].filter((place) =>
      [source, null].includes(place.closest("[data-live-source]")));
    const state = source.querySelector("[data-live-state]");
    let stream = null, wait = FIRST_WAIT, again = 0, doubt = 0;

    function trust() {
      window.clearTimeout(doubt);
      doubt = 0;
    }

    function say(live) {
      trust();
      if (!state || state.dataset.liveState === (live ? "on" : "off")) return;
      state.dataset.liveState = live ? "on" : "off";
      state.textContent = live ? "live" : "not live: reload to see what is new";
    }

    function open() {
      window.clearTimeout(again);
      if (stream || document.hidden) return;
      stream = new EventSource(url);
      stream.addEventListener("open", () => {
        wait = FIRST_WAIT;
        say(true);
      });
      for (const name of new Set(places.map((place) => place.dataset.live))) {
        stream.addEventListener(name, (event) => {
          say(true);
          for (const place of places) if (place.dataset.live === name) put(place, event.data);
        });
      }
      stream.addEventListener("error", () => {
        // The server ends every stream now and then; only a longer silence is worth a word. It counts from
        // the first error: of a server that is gone there is another one at every try.
        if (!doubt) doubt = window.setTimeout(() => say(false), PATIENCE);
        if (!stream || stream.readyState !== EventSource.CLOSED) return; // the browser tries again
        close();
        again = window.setTimeout(open, wait);
        wait = Math.min(2 * wait, LONGEST_WAIT);
      });
    }

    function close() {
      if (stream) stream.close();
      stream = null;
    }

    // A page nobody looks at holds no connection: a browser has six for a server.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        trust();
        window.clearTimeout(again);
        close();
      } else {
        open();
      }
    });
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", (event) => event.persisted && open());
    open();
  }

  const waiting = new Map();

  function putWaiting(place) {
    // After the click that took him out of the field has had its effect.
    window.setTimeout(() => waiting.has(place) && put(place, waiting.get(place)), 300);
  }

  // Replaces the inside of an element; what a person opened stays open, what he was on stays in focus.
  function put(place, html) {
    const held = place.contains(document.activeElement) ? document.activeElement : null;
    if (held && held.matches("input:not([type=hidden]), textarea, select")) {
      // He is typing: what came last is put there once he is done.
      if (!waiting.has(place)) held.addEventListener("blur", () => putWaiting(place), { once: true });
      waiting.set(place, html);
      return;
    }
    waiting.delete(place);
    const focused = held && held.id;
    const open = [...place.querySelectorAll("details[id][open]")].map((each) => each.id);
    place.innerHTML = html;
    for (const id of open) {
      const again = document.getElementById(id);
      if (again) again.open = true;
    }
    const back = focused && document.getElementById(focused);
    if (back) back.focus({ preventScroll: true });
  }

  document.querySelectorAll("[data-live-source]").forEach(keep);
})();
