/* Training pairs in bulk: a file in, what was read and refused of it, and what became of every file sent. */

import { ask, Problem } from "./api.js";
import { byId, counted, el, notice, wait, words } from "./dom.js";

const BYTES_MAX = 8 * 1024 * 1024;
const POLL_MILLISECONDS = 5000;
/* Five minutes: a file may wait for days, and looking for ever would keep a session open that nobody uses. */
const LOOKS_MAX = 60;
const KINDS = { jsonl: "application/x-ndjson", ndjson: "application/x-ndjson", csv: "text/csv" };
const PACKED = /\.(zip|gz|xlsx?|ods|rar|7z)$/iu;

const stateWords = (set) => {
  if (set.state === "waiting") { return "waiting for the next retrain"; }
  if (set.state === "used") { return "used in dataset"; }
  return set.dataset_digest ? `${set.state}, after it was used in dataset` : set.state;
};
const stateOf = (set) => [
  stateWords(set), ...(set.dataset_digest ? [" ", el("code", { text: set.dataset_digest.slice(0, 12) })] : []),
  ...(set.why ? [el("br"), words("bdi", set.why, { class: "small soft" })] : []),
];
const time = (text) => el("time", { datetime: text, text: `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` });

const showSets = (sets) => {
  byId("sets-none").hidden = sets.length > 0;
  byId("sets").hidden = sets.length === 0;
  byId("sets-rows").replaceChildren(...sets.map((set) => el("tr", { "data-id": set.id },
    el("td", {}, time(set.created_at), el("br"), words("bdi", set.asked_by, { class: "small soft" })),
    el("td", { class: "number", text: set.accepted.toLocaleString("en") }),
    el("td", {}, stateOf(set), set.state === "waiting" ? el("p", {}, takeBack(set)) : null))));
};

const takeBack = (set) => el("button", { type: "button", class: "button slim", "data-take-back": set.id, "aria-label": `Take back the file of ${counted(set.accepted, "pair")} sent ${set.created_at.slice(0, 10)}`, text: "Take back" });

let latest = "";
let following = false;
/* Looks again as long as a file waits and somebody looks at the page. */
const follow = async () => {
  if (following) { return; }
  following = true;
  for (let look = 0; look < LOOKS_MAX; look += 1) {
    if (!document.hidden) {
      try {
        const { sets } = await ask("GET", "/api/pairs");
        showSets(sets);
        const own = sets.find((set) => set.id === latest);
        if (own) { byId("pairs-state").replaceChildren("State: ", ...stateOf(own)); }
        if (!sets.some((set) => set.state === "waiting")) { following = false; return; }
      } catch (error) {
        if (!(error instanceof Problem) || error.isFinal) { following = false; return; }
      }
    }
    await wait(POLL_MILLISECONDS);
  }
  following = false;
};

const show = (name, set) => {
  byId("pairs-name").textContent = name;
  const figures = [[set.accepted, "pairs accepted"], [set.refused, "rows refused"], ...(set.held_out ? [[set.held_out, "of them kept for measuring"]] : [])];
  byId("pairs-counts").replaceChildren(...figures.map(([count, says]) =>
    el("div", {}, el("dt", { text: says }), el("dd", { text: count.toLocaleString("en") }))));
  const faults = set.faults ?? [];
  byId("pairs-refused").hidden = !faults.length;
  byId("pairs-faults").replaceChildren(...faults.map((fault) => el("tr", {},
    el("td", { class: "number", text: fault.line ? String(fault.line) : "–" }), words("td", fault.reason))));
  byId("pairs-more").hidden = set.refused <= faults.length;
  byId("pairs-more").textContent = `The first ${faults.length} of ${set.refused.toLocaleString("en")} are shown.`;
  byId("pairs-state").replaceChildren("State: ", ...stateOf({ dataset_digest: "", why: "", ...set }));
  byId("pairs-report").hidden = false;
  byId("pairs-report").focus();
};

const trouble = (text, ...more) => byId("pairs-trouble").replaceChildren(notice(text, "bad", ...more));

/* Why the file cannot be one of pairs, before a byte of it is sent; "" where it can. */
const refusal = (file) => {
  if (PACKED.test(file.name)) { return "This is a packed file or a workbook, and it was not opened. Unpack it, or save the sheet as CSV, and drop that."; }
  if (!KINDS[file.name.split(".").pop().toLowerCase()]) { return "Drop a file that ends in .jsonl or .csv: one training pair a line."; }
  if (file.size > BYTES_MAX) { return "At most 8 MB can be sent at once: split the file and send its parts."; }
  return file.size ? "" : "The file is empty: it needs one training pair a line.";
};

const send = async (file) => {
  byId("pairs-trouble").replaceChildren();
  const refused = refusal(file);
  if (refused) { trouble(refused); return; }
  byId("pairs-status").textContent = `Reading ${file.name} …`;
  try {
    const headers = { "Content-Type": KINDS[file.name.split(".").pop().toLowerCase()], "Idempotency-Key": crypto.randomUUID() };
    const set = await ask("POST", "/api/pairs", undefined, { body: file, headers });
    latest = set.id;
    show(file.name, set);
    byId("pairs-status").textContent = `${counted(set.accepted, "pair")} of ${file.name} ${set.state === "waiting" ? "will be learnt from" : "were sent before"}.`;
    follow();
  } catch (error) {
    byId("pairs-status").textContent = "";
    byId("pairs-report").hidden = true;
    const shown = error instanceof Problem ? error : new Problem({ detail: "Something went wrong on this page: load it again." }, 0);
    trouble(shown.message.replace(" with DELETE /v1/pairs/{set_id}", " below"), ...shown.errors.filter((each) => each.detail !== shown.message).slice(0, 20).map((each) => words("p", each.detail)));
  }
};

const withdraw = async (button) => {
  button.disabled = true;
  try {
    await ask("DELETE", `/api/pairs/${button.dataset.takeBack}`);
    byId("pairs-trouble").replaceChildren();
    const { sets } = await ask("GET", "/api/pairs");
    showSets(sets);
    byId("pairs-status").textContent = "The file was taken back: no dataset that is begun from now on holds it.";
    byId("pairs-drop").scrollIntoView({ block: "nearest" });
  } catch (error) {
    button.disabled = false;
    trouble(error instanceof Problem ? error.message : "Something went wrong on this page: load it again.");
  }
};

export const beginPairs = () => {
  const [drop, field] = [byId("pairs-drop"), byId("pairs-file")];
  if (!drop) { return; }
  field.addEventListener("change", () => { if (field.files[0]) { send(field.files[0]); } field.value = ""; });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) { drop.addEventListener(kind, () => drop.classList.remove("over")); }
  drop.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) { send(event.dataTransfer.files[0]); } });
  byId("sets-rows").addEventListener("click", (event) => {
    const button = event.target.closest("[data-take-back]");
    if (button) { withdraw(button); }
  });
  if (document.querySelector('#sets-rows tr[data-state="waiting"]')) { follow(); }
};
