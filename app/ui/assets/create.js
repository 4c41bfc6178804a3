/* The page Create: one product in, ads that appear while they are written. */

import { ask, channels, events, Problem, request } from "./api.js";
import { Card, wordsOf } from "./card.js";
import { byId, counted, el, notice, words } from "./dom.js";
import { fillChannels, picked } from "./order.js";
import { Photograph } from "./photograph.js";

const EXAMPLE = {
  title: "Gooseneck kettle Loch, 1.2 l",
  description: "Brushed steel, 1,000 W. Temperature set in 1-degree steps, from 40 to 100 °C. Base 15 cm.",
  category: "Kitchen", brand: "", price: "79.00 EUR", sku: "LOCH-12", image: "",
};
const FIELDS = Object.keys(EXAMPLE);
const EMPTY_WORDS = { headlines: [], descriptions: [], call_to_action: "", hashtags: [] };

const form = byId("create");
const results = byId("results");
const status = byId("status");
const go = byId("go");
const stop = byId("stop");
let running = null;
let seed = 0;
let rows = [];

/* Another product is another ad: it begins with the first seed again. */
const beginAnew = () => { seed = 0; go.textContent = "Write ads"; };
const photograph = new Photograph({ onChange: beginAnew });

const product = () => Object.fromEntries(
  FIELDS.map((name) => [name, (name === "image" && photograph.image) || form.elements[name].value.trim()]).filter(([, value]) => value),
);

const order = () => {
  const candidates = Number(form.elements.candidates.value);
  return {
    product: product(),
    channels: picked(form, "channel"),
    voice: picked(form, "voice")[0],
    candidates,
    return_candidates: form.elements.all.checked ? candidates : 1,
    seed,
  };
};

const fill = (values) => {
  photograph.remove();
  for (const name of FIELDS) { form.elements[name].value = values[name] ?? ""; }
};

/* A card that fills while its ad is written: one for each place that an ad will take. */
class Writing {
  constructor(title, label) {
    this.ad = structuredClone(EMPTY_WORDS);
    this.progress = el("span", { text: label });
    this.body = el("div", { class: "words" }, el("p", { class: "meta" }, el("span", { text: title })),
      el("div", { class: "bone" }), el("div", { class: "bone" }), el("div", { class: "bone" }));
    this.title = title;
    this.item = el("li", {}, el("article", { class: "card writing", "aria-busy": "true" },
      el("div", { class: "picture" }, this.progress), this.body, el("div", { class: "judged" })));
  }

  field({ name, text }) {
    if (name === "call_to_action") { this.ad.call_to_action = text; }
    else { this.ad[{ headline: "headlines", body: "descriptions", hashtags: "hashtags" }[name]].push(text); }
    const inside = wordsOf(this.ad);
    inside.classList.add("fresh");
    this.body.replaceChildren(el("p", { class: "meta" }, el("span", { text: this.title })), inside);
    this.progress.textContent = "Drawing the picture";
  }
}

const places = (asked, known) => {
  const made = new Map();
  for (const name of asked.channels) {
    for (let rank = 0; rank < asked.return_candidates; rank += 1) {
      made.set(`${name}/${rank}`, new Writing(known.get(name)?.title ?? name, "Waiting for the writer"));
    }
  }
  return made;
};

const showProblem = (problem) => {
  if (problem.type.endsWith(":photograph-not-found")) {
    photograph.remove();
    problem.message = "The photograph is kept no longer: choose the file again, and write again.";
  }
  const fields = problem.errors.map((each) => each.pointer?.match(/^#\/product\/(\w+)/u)?.[1]).filter(Boolean);
  fields.forEach((name) => form.elements[name]?.setAttribute("aria-invalid", "true"));
  const details = problem.errors.map((each) => words("p", each.detail));
  const id = problem.requestId ? [el("p", { class: "small soft" }, "If it stays, report ", el("code", { text: problem.requestId }))] : [];
  byId("trouble").replaceChildren(notice(problem.message, "bad", ...(problem.errors.length > 1 ? details : []), ...(problem.status >= 500 ? id : [])));
  if (fields.length) { form.elements[fields[0]]?.focus(); }
};

const follow = async (answer, asked, known, cards) => {
  const ranks = new Map();
  let written = 0;
  for await (const [name, data] of events(answer)) {
    if (name === "progress") {
      for (const [key, card] of cards) {
        if (key.startsWith(`${data.channel}/`)) { card.progress.textContent = data.begun ? `Writing, ${counted(data.texts, "text")} so far` : "Waiting for the writer"; }
      }
    } else if (name === "field") {
      cards.get(`${data.channel}/${data.rank}`)?.field(data);
    } else if (name === "creative") {
      const rank = ranks.get(data.channel) ?? 0;
      ranks.set(data.channel, rank + 1);
      const card = new Card(data, known.get(data.channel), { productTitle: asked.product.title });
      cards.get(`${data.channel}/${rank}`)?.item.replaceChildren(card.element);
      written += 1;
    } else if (name === "error") {
      throw new Problem(data, data.status ?? 500);
    }
  }
  return written;
};

const clearUnfinished = (cards) => {
  for (const card of cards.values()) {
    if (card.item.querySelector(".writing")) { card.item.remove(); }
  }
  byId("empty").hidden = results.children.length > 0;
};

const run = async () => {
  form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
  byId("trouble").replaceChildren();
  go.disabled = true;
  await photograph.sending;
  go.disabled = false;
  const asked = order();
  if (!asked.product.title) { showProblem(new Problem({ detail: "Give the product a title.", errors: [{ pointer: "#/product/title", detail: "" }] }, 422)); return; }
  if (!asked.channels.length) { showProblem(new Problem({ detail: "Choose at least one channel." }, 422)); return; }
  running = new AbortController();
  go.disabled = true;
  stop.hidden = false;
  let cards = new Map();
  try {
    const known = await channels();
    cards = places(asked, known);
    results.replaceChildren(...[...cards.values()].map((card) => card.item));
    byId("empty").hidden = true;
    status.textContent = "Writing …";
    status.scrollIntoView({ block: "start" });
    const body = JSON.stringify(asked);
    const answer = await request("POST", "/api/creatives", { body, headers: { "Content-Type": "application/json" }, signal: running.signal });
    const count = await follow(answer, asked, known, cards);
    status.textContent = count ? `${counted(count, "ad")} written. Accept, edit or reject each: the model learns from it.` : "The answer broke off: try again.";
    seed = (seed + 1) % 2 ** 32;
    go.textContent = "Write others";
  } catch (error) {
    if (error.name === "AbortError") { status.textContent = "Stopped."; }
    else { status.textContent = ""; showProblem(error instanceof Problem ? error : new Problem({ detail: "The connection broke off: try again." }, 0)); }
  } finally {
    clearUnfinished(cards);
    running = null;
    go.disabled = false;
    stop.hidden = true;
    // A button that is disabled or hidden loses the keyboard, which would begin at the top of the page again.
    if (document.activeElement === document.body) { go.focus({ preventScroll: true }); }
  }
};

form.addEventListener("submit", (event) => { event.preventDefault(); if (!running) { run(); } });
form.addEventListener("input", (event) => {
  if (FIELDS.includes(event.target.name)) { beginAnew(); event.target.removeAttribute("aria-invalid"); }
});
stop.addEventListener("click", () => running?.abort());
byId("example").addEventListener("click", () => { fill(EXAMPLE); beginAnew(); form.elements.title.focus(); });
form.elements.candidates.addEventListener("input", () => { byId("candidates-shown").textContent = form.elements.candidates.value; });
byId("row").addEventListener("change", (event) => {
  const row = rows[Number(event.target.value)];
  if (row) { fill(row); beginAnew(); }
});

const begin = async () => {
  try {
    fillChannels(byId("channels"), await channels(), ["instagram"]);
    const state = await ask("GET", "/catalogue/state");
    rows = state.rows;
    byId("row-field").hidden = !rows.length;
    byId("row").append(...rows.map((row, place) => el("option", { value: String(place), text: row.title.slice(0, 90) })));
  } catch (error) { showProblem(error); }
};
begin();
