/* The page Catalogue: a file in, what was read of it, a run over all of it, and everything that came of that. */

import { ask, channels, Problem, request } from "./api.js";
import { byId, counted, el, notice, words } from "./dom.js";
import { fillChannels, picked } from "./order.js";
import { Results } from "./results.js";
import { Run } from "./run.js";

const bytesMax = Number(document.body.dataset.uploadBytesMax);
const form = byId("run");
let upload = null;
let titles = new Map();

const showProblem = (place, error) => {
  const shown = error instanceof Problem ? error : new Problem({ detail: "Something went wrong on this page: load it again." }, 0);
  const details = shown.errors.filter((each) => each.detail !== shown.message).slice(0, 20);
  byId(place).replaceChildren(notice(shown.message, "bad", ...details.map((each) => words("p", each.detail))));
};

const results = new Results({ run: () => run, titleOf: (sku) => titles.get(sku) ?? sku });
const run = Run.recall({ tell: (text) => showRun(text) });

const showRun = (text) => {
  const { latest } = run;
  byId("progress-panel").hidden = !latest;
  if (!latest) { return; }
  const done = latest.written + latest.failed;
  const share = latest.products ? Math.round((100 * done) / latest.products) : 0;
  byId("bar").style.width = `${run.isOpen ? share : latest.cancelled ? share : 100}%`;
  byId("meter").setAttribute("aria-valuenow", String(share));
  const left = latest.estimated_seconds_left;
  const time = run.isOpen && left ? `, about ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left` : "";
  const ended = run.isOpen ? "" : latest.cancelled ? `; stopped, ${counted(latest.cancelled, "product")} not written` : "; done";
  byId("progress").textContent = `${done.toLocaleString("en")} of ${counted(latest.products, "product")}${latest.failed ? `, ${latest.failed} failed` : ""}${time}${ended}`;
  byId("run-notice").replaceChildren(...(text ? [notice(text, "")] : []));
  byId("stop").hidden = !run.isOpen;
  byId("resume").hidden = run.isOpen || !run.unwritten.size;
  const bad = results.toRepeat();
  byId("repeat").hidden = run.isOpen || !bad.size;
  byId("repeat").textContent = `Write ${counted(bad.size, "product")} again`;
  byId("start").disabled = run.isOpen;
  results.show();
};

const showUpload = () => {
  byId("report").hidden = !upload;
  byId("run-panel").hidden = !upload;
  byId("drop-words").textContent = upload ? "Drop another file to take its place" : "Drop your product export here";
  byId("drop").classList.toggle("small", Boolean(upload));
  if (!upload) { return; }
  byId("file-name").textContent = upload.name;
  const figures = [[upload.products, "products read"], [upload.rejected, "rows refused"], [upload.merged ?? 0, "merged as variants"]];
  byId("counts").replaceChildren(...figures.map(([count, name]) =>
    el("div", {}, el("dt", { text: name }), el("dd", { text: (count ?? 0).toLocaleString("en") }))));
  const refused = upload.rejected_rows ?? [];
  byId("refused").hidden = !refused.length;
  byId("refused-rows").replaceChildren(...refused.map((row) => el("tr", {},
    el("td", { class: "number", text: String(row.line) }), words("td", row.column || "–"), words("td", row.reason))));
  byId("refused-more").hidden = upload.rejected <= refused.length;
  byId("refused-more").textContent = `The first ${refused.length} of ${upload.rejected.toLocaleString("en")} are shown.`;
  byId("start").textContent = `Write for ${upload.products === 1 ? "this product" : `all ${upload.products.toLocaleString("en")}`}`;
};

const take = (state) => {
  upload = state.upload;
  titles = new Map(Object.entries(state.titles ?? {}));
  showUpload();
};

const send = async (what, sending) => {
  byId("upload-trouble").replaceChildren();
  byId("upload-status").textContent = `Reading ${what} …`;
  try {
    const state = await sending();
    run.forget();
    take(state);
    showRun("");
    results.show();
    byId("upload-status").textContent = "";
    byId("report").focus();
  } catch (error) {
    byId("upload-status").textContent = "";
    showProblem("upload-trouble", error);
  }
};

const sendFile = async (file) => {
  if (!file) { return; }
  if (file.size > bytesMax) {
    const size = Math.ceil(file.size / 2 ** 20).toLocaleString("en");
    showProblem("upload-trouble", new Problem({ detail: `${file.name} has ${size} MB, and at most ${Math.floor(bytesMax / 2 ** 20)} MB can be sent at once: split it and send its parts.` }, 413));
    return;
  }
  await send(file.name, async () => (await request("POST", "/catalogue/upload", {
    body: file, headers: { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" },
  })).json());
};

const doing = async (action) => {
  byId("run-notice").replaceChildren();
  try { await action(); } catch (error) { showProblem("run-notice", error); }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = picked(form, "channel");
  if (!chosen.length) { showProblem("order-trouble", new Problem({ detail: "Choose at least one channel." }, 422)); return; }
  byId("order-trouble").replaceChildren();
  run.forget();
  byId("start").disabled = true;
  byId("progress-panel").hidden = false;
  byId("progress-panel").scrollIntoView({ block: "nearest" });
  doing(() => run.start(upload.digest, { channels: chosen, voice: picked(form, "voice")[0], candidates: Number(form.elements.candidates.value), seed: 0 }))
    .finally(() => { byId("start").disabled = run.isOpen; });
});
byId("stop").addEventListener("click", () => doing(() => run.stop()));
byId("resume").addEventListener("click", () => doing(() => run.again(run.unwritten, { newSeed: false })));
byId("repeat").addEventListener("click", () => doing(() => run.again(results.toRepeat(), { newSeed: true })));
byId("file").addEventListener("change", (event) => { sendFile(event.target.files[0]); event.target.value = ""; });
byId("sample").addEventListener("click", () => send("the sample", () => ask("POST", "/catalogue/sample", {})));

const drop = byId("drop");
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  sendFile(event.dataTransfer.files[0]);
});

/* A run that this client does not know was another's, before somebody else signed in here. */
const pickUp = async () => {
  try { await run.follow(); } catch (error) {
    if (!(error instanceof Problem) || error.status !== 404) { throw error; }
    run.forget();
    showRun("");
  }
};

const begin = async () => {
  try {
    const known = await channels();
    fillChannels(byId("channels"), known, ["instagram", "google_rsa"]);
    results.channels = known;
    const state = await ask("GET", "/catalogue/state?all=1");
    results.decisions = new Map(Object.entries(state.decisions ?? {}));
    take(state);
    if (run.batches.length) { await doing(pickUp); }
  } catch (error) { showProblem("upload-trouble", error); }
};
begin();
