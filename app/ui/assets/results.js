/* What a run has written: filtered, accepted in bulk, downloaded. */

import { ask, Problem, request } from "./api.js";
import { Card, textsOf } from "./card.js";
import { byId, counted, el, notice, wait, words } from "./dom.js";
import { FINDINGS } from "./findings.js";

const SHOWN = 24;
const AT_ONCE = 4;
/* Of one click on Accept, the ads that the model is told of: thousands would outweigh what people say one by one. */
const TOLD_MAX = 200;
const DECIDED_AT_ONCE = 5000;
/* Longer than a limit by the minute: then it is the limit of the day. */
const WAIT_SECONDS_MAX = 120;

/* At most `most` of them, at even distances. */
const sampled = (list, most) => (list.length <= most ? [...list] : Array.from({ length: most }, (_, place) => list[Math.floor((place * list.length) / most)]));

export class Results {
  constructor({ run, titleOf }) {
    this.run = run;
    this.titleOf = titleOf;
    this.channels = new Map();
    this.decisions = new Map();
    this.cards = new Map();
    this.searched = new WeakMap();
    this.read = -1;
    this.limit = SHOWN;
    for (const id of ["filter-channel", "filter-finding", "filter-verdict", "filter-words"]) {
      byId(id).addEventListener("input", () => { this.limit = SHOWN; this.show(); });
    }
    byId("more").addEventListener("click", () => { this.limit += SHOWN; this.show(); });
    byId("accept-all").addEventListener("click", () => this.acceptAll());
    byId("download").addEventListener("click", () => this.download());
  }

  /* Products that could not be written, and those whose ads have findings and nobody has accepted. */
  toRepeat() {
    const bad = [...this.run().ads.values()].filter((ad) => ad.findings.length && !["accept", "edit"].includes(this.verdictOf(ad)));
    return new Set([...this.run().failed.keys(), ...bad.map((ad) => ad.sku)]);
  }

  verdictOf(ad) { return this.decisions.get(ad.id)?.verdict ?? ""; }

  matching() {
    const channel = byId("filter-channel").value;
    const finding = byId("filter-finding").value;
    const verdict = byId("filter-verdict").value;
    const text = byId("filter-words").value.trim().toLowerCase();
    return [...this.run().ads.values()].filter((ad) =>
      (!channel || ad.channel === channel) &&
      (!finding || (finding === "none" ? !ad.findings.length : finding === "any" ? ad.findings.length : ad.findings.some((each) => each.kind === finding))) &&
      (!verdict || (verdict === "open" ? !this.verdictOf(ad) : verdict === "reject" ? this.verdictOf(ad) === "reject" : ["accept", "edit"].includes(this.verdictOf(ad)))) &&
      (!text || this.wordsOf(ad).includes(text)));
  }

  /* Made once for each ad: a search goes through all of them with every key. */
  wordsOf(ad) {
    if (!this.searched.has(ad)) { this.searched.set(ad, `${ad.sku} ${this.titleOf(ad.sku)} ${textsOf(ad).join(" ")}`.toLowerCase()); }
    return this.searched.get(ad);
  }

  show() {
    const { ads, failed, changes } = this.run();
    byId("results-panel").hidden = !ads.size && !failed.size;
    if (changes !== this.read) { this.choices(); }
    this.read = changes;
    const found = this.matching();
    byId("count").textContent = found.length === ads.size ? counted(ads.size, "ad") : `${found.length.toLocaleString("en")} of ${counted(ads.size, "ad")}`;
    this.draw(found.slice(0, this.limit));
    byId("more").hidden = found.length <= this.limit;
    byId("nothing").hidden = found.length > 0 || !ads.size;
    this.tellOpen(found);
    byId("failed").hidden = !failed.size;
    byId("failed-rows").replaceChildren(...[...failed].slice(0, 100).map(([sku, reason]) => el("tr", {}, words("td", sku), words("td", reason))));
  }

  /* Cards that stay are not touched: one that is being edited keeps its words and the keyboard while a run goes on. */
  draw(ads) {
    const list = byId("results");
    const items = ads.map((ad) => { const { element } = this.card(ad); return element.closest("li") ?? el("li", {}, element); });
    const wanted = new Set(items);
    for (const item of [...list.children].filter((each) => !wanted.has(each))) { item.remove(); }
    items.forEach((item, place) => { if (list.children[place] !== item) { list.insertBefore(item, list.children[place] ?? null); } });
  }

  card(ad) {
    if (!this.cards.has(ad.id)) {
      this.cards.set(ad.id, new Card(ad, this.channels.get(ad.channel), {
        decision: this.decisions.get(ad.id), productTitle: this.titleOf(ad.sku),
        onDecision: (decided, decision) => { this.decisions.set(decided.id, decision); this.tellOpen(); },
      }));
    }
    return this.cards.get(ad.id);
  }

  /* After one verdict the cards stay where they are: a list that jumps under the hand is hard to work through. */
  tellOpen(found = this.matching()) {
    const open = found.filter((ad) => !this.verdictOf(ad)).length;
    byId("accept-all").disabled = !open || this.isAccepting;
    if (!this.isAccepting) { byId("accept-all").textContent = open ? `Accept ${open === 1 ? "this one" : `these ${open.toLocaleString("en")}`}` : "All are decided"; }
  }

  choices() {
    const ads = [...this.run().ads.values()];
    const names = [...new Set(ads.map((ad) => ad.channel))].sort();
    this.fill("filter-channel", names.map((name) => [name, this.channels.get(name)?.title ?? name]), "Every channel");
    const kinds = [...new Set(ads.flatMap((ad) => ad.findings.map((finding) => finding.kind)))].sort();
    const named = kinds.map((kind) => [kind, (FINDINGS[kind] ?? kind).slice(0, 60)]);
    this.fill("filter-finding", [["none", "Without findings"], ["any", "With any finding"], ...named], "All");
  }

  fill(id, options, all) {
    const select = byId(id);
    const before = select.value;
    const key = JSON.stringify(options);
    if (select.dataset.key === key) { return; }
    select.dataset.key = key;
    select.replaceChildren(el("option", { value: "", text: all }), ...options.map(([value, text]) => el("option", { value, text })));
    select.value = options.some(([value]) => value === before) ? before : "";
  }

  /* First for the download, which takes a moment; then the model is told, which may take minutes. */
  async acceptAll() {
    const open = this.matching().filter((ad) => !this.verdictOf(ad));
    this.isAccepting = true;
    byId("accept-all").disabled = true;
    byId("bulk-notice").replaceChildren();
    try {
      for (let place = 0; place < open.length; place += DECIDED_AT_ONCE) { await this.accept(open.slice(place, place + DECIDED_AT_ONCE)); }
      const accepted = `${counted(open.length, "ad")} accepted`;
      const told = this.tell(sampled(open, TOLD_MAX));
      const few = open.length <= TOLD_MAX;
      byId("bulk-notice").replaceChildren(notice(few ? `${accepted}.` : `${accepted}. The model is told of ${TOLD_MAX} of them, drawn evenly: one click should not outweigh what you say of single ads.`, "fine"));
      this.show();
      await told.catch((error) => {
        if (!(error instanceof Problem)) { throw error; }
        byId("bulk-notice").replaceChildren(notice(`${accepted}, and they are in your downloads; the model could not be told of all: ${error.message}`));
      });
    } catch (error) {
      if (!(error instanceof Problem)) { throw error; }
      byId("bulk-notice").replaceChildren(notice(error.message));
    } finally { this.isAccepting = false; }
    this.show();
  }

  async accept(ads) {
    await ask("POST", "/catalogue/decisions", { accepted: ads.map((ad) => ad.id) });
    for (const ad of ads) {
      this.decisions.set(ad.id, { verdict: "accept" });
      const card = this.cards.get(ad.id);
      if (card) { card.verdict = "accept"; card.show(); }
    }
    byId("accept-all").textContent = "Accepting …";
  }

  async tell(ads) {
    const work = async () => { for (let ad = ads.pop(); ad; ad = ads.pop()) { await this.tellOf(ad); } };
    try { await Promise.all(Array.from({ length: AT_ONCE }, work)); } finally { ads.length = 0; }
  }

  /* A limit that is reached is waited for, and the same verdict sent again. */
  async tellOf(ad) {
    for (;;) {
      try { await ask("POST", `/api/creatives/${ad.id}/feedback`, { verdict: "accept" }); return; } catch (error) {
        if (error.status !== 429 || error.retryAfter > WAIT_SECONDS_MAX) { throw error; }
        await wait(Math.max(1, error.retryAfter) * 1000);
      }
    }
  }

  async download() {
    const query = new URLSearchParams([["format", byId("format").value], ...this.run().batches.slice(-20).map((id) => ["batch", id])]);
    if (byId("only-accepted").checked) { query.set("accepted", "1"); }
    const button = byId("download");
    button.disabled = true;
    button.textContent = "Making the file …";
    byId("bulk-notice").replaceChildren(...(byId("format").value === "zip" ? [notice("Pictures are being drawn for the zip: that takes half a minute.", "")] : []));
    try {
      const answer = await request("GET", `/catalogue/download?${query}`);
      const name = answer.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/u)?.[1] ?? "ads";
      const address = URL.createObjectURL(await answer.blob());
      el("a", { href: address, download: name }).click();
      byId("bulk-notice").replaceChildren();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      byId("bulk-notice").replaceChildren(notice(error.message));
    } finally { button.disabled = false; button.textContent = "Download"; }
  }
}
