/* One ad as a card: its picture and words, what is wrong with it, and what can be done about it. */

import { ask, Problem } from "./api.js";
import { el, notice, words } from "./dom.js";
import { editor } from "./editor.js";
import { FINDINGS } from "./findings.js";

const GOOD = 0.9;
const FAIR = 0.5;
const REASONS = ["Says too little", "Wrong tone", "Not true", "Too long"];

export const textsOf = (ad) =>
  [...ad.headlines, ...ad.descriptions, ad.call_to_action, ad.hashtags.join(" ")].filter(Boolean);

export const wordsOf = (ad) => el("div", { class: "words-inner" },
  ad.headlines.length ? words("h2", ad.headlines[0]) : null,
  ad.headlines.length > 1
    ? el("ul", { class: "also", "aria-label": "Further headlines" }, ad.headlines.slice(1).map((text) => words("li", text)))
    : null,
  ad.descriptions.map((text) => words("p", text, { class: ad.headlines.length ? "" : "lone" })),
  ad.call_to_action ? el("p", { class: "cta" }, words("span", ad.call_to_action)) : null,
  ad.hashtags.length ? words("p", ad.hashtags.join(" "), { class: "tags" }) : null,
);

export const picture = (ad, size) => {
  const [width, height] = size.split("x");
  const says = ad.headlines[0] || ad.descriptions[0] || ad.sku;
  return el("img", { src: `/pictures/${ad.id}.svg?size=${size}`, width, height, alt: `Picture of the ad: ${says}`, loading: "lazy", decoding: "async" });
};

const score = (ad) => {
  const level = ad.validity >= GOOD ? "good" : ad.validity >= FAIR ? "fair" : "poor";
  const fill = el("i");
  fill.style.width = `${Math.round(100 * ad.validity)}%`;
  return el("div", { class: "score" }, "Validity ", el("b", { text: ad.validity.toFixed(2) }),
    el("span", { class: `bar ${level}`, "aria-hidden": "true" }, fill), el("span", { class: "verdict" }));
};

const findings = (ad) => ad.findings.length
  ? el("ul", { class: "findings", "aria-label": "Findings" }, ad.findings.map((finding) =>
      el("li", { text: FINDINGS[finding.kind] || finding.kind.replaceAll("_", " ") }, words("span", finding.detail))))
  : null;

const copyText = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* refused: try the old way */ }
  }
  const area = el("textarea", { value: text });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
};

/* `onDecision(ad, decision)` is called once a verdict is kept. */
export class Card {
  constructor(ad, channel, { decision, productTitle = "", onDecision = () => {} } = {}) {
    this.written = ad;
    this.ad = decision?.edited ? { ...ad, ...decision.edited } : ad;
    this.channel = channel;
    this.onDecision = onDecision;
    this.verdict = decision?.verdict ?? "";
    this.size = ad.images?.[0]?.size ?? channel?.image_sizes?.[0] ?? "1200x628";
    this.body = el("div", { class: "words" });
    this.below = el("div", { class: "below" });
    this.judged = el("div", { class: "judged" }, score(ad), findings(ad));
    this.buttons = this.actions();
    this.element = el("article", { class: "card", "data-id": ad.id },
      el("div", { class: "picture" }, picture(ad, this.size)), this.body, this.judged, this.below, this.buttons);
    this.meta = el("p", { class: "meta" }, el("span", { text: channel?.title ?? ad.channel }), words("span", productTitle || ad.sku));
    this.show();
  }

  actions() {
    this.accept = this.button("Accept", () => this.decide({ verdict: "accept" }));
    this.edit = this.button("Edit", () => this.openEditor());
    this.reject = this.button("Reject", () => this.openReasons(), "no");
    this.copy = this.button("Copy", async () => {
      this.copy.textContent = (await copyText(textsOf(this.ad).join("\n"))) ? "Copied" : "Not allowed here";
      setTimeout(() => { this.copy.textContent = "Copy"; }, 1600);
    });
    const file = (form) => el("a", {
      class: "button slim", href: `/pictures/${this.ad.id}.${form}?size=${this.size}&download=1`, download: `${this.ad.id}.${form}`,
      "aria-label": `Download the picture as ${form.toUpperCase()}`, text: form.toUpperCase(),
    });
    return el("div", { class: "actions" }, this.accept, this.edit, this.reject, this.copy, file("png"), file("svg"));
  }

  button(text, onclick, kind = "") {
    return el("button", { type: "button", class: `button slim ${kind}`, text, onclick });
  }

  show() {
    const inside = wordsOf(this.ad);
    if (!this.ad.headlines.length) { inside.prepend(el("h2", { class: "unseen", text: this.ad.sku })); }
    this.body.replaceChildren(this.meta, inside);
    const said = { accept: "Accepted", edit: "Accepted as edited", reject: "Rejected" }[this.verdict] ?? "";
    const verdict = this.judged.querySelector(".verdict");
    verdict.textContent = said;
    verdict.className = `verdict ${this.verdict === "reject" ? "poor" : "good"}`;
    this.element.classList.toggle("accept", this.verdict === "accept" || this.verdict === "edit");
    this.element.classList.toggle("reject", this.verdict === "reject");
    this.accept.setAttribute("aria-pressed", String(this.verdict === "accept"));
    this.reject.setAttribute("aria-pressed", String(this.verdict === "reject"));
  }

  close(focus) {
    this.below.replaceChildren();
    this.body.hidden = false;
    this.buttons.hidden = false;
    focus?.focus();
  }

  async decide(feedback) {
    this.below.querySelector(".notice")?.remove();
    try {
      await ask("POST", `/api/creatives/${this.ad.id}/feedback`, feedback);
    } catch (error) {
      if (!(error instanceof Problem)) { throw error; }
      this.below.append(notice(error.message, "bad", ...error.errors.map((each) => words("p", each.detail))));
      return false;
    }
    this.verdict = feedback.verdict;
    this.ad = { ...this.written, ...(feedback.edited ?? {}) };
    this.show();
    this.onDecision(this.ad, { verdict: this.verdict, edited: feedback.edited });
    return true;
  }

  openEditor() {
    const form = editor(this.ad, this.channel, {
      save: async (edited) => { if (await this.decide({ verdict: "edit", edited })) { this.close(this.edit); } },
      cancel: () => this.close(this.edit),
    });
    this.body.hidden = true;
    this.buttons.hidden = true;
    this.below.replaceChildren(form);
    form.querySelector("textarea, input")?.focus();
  }

  openReasons() {
    const reason = el("textarea", { maxlength: 500, rows: 2, required: true, id: `why-${this.ad.id}` });
    const form = el("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        if (await this.decide({ verdict: "reject", reason: reason.value.trim() })) { this.close(this.reject); }
      },
    },
      el("div", { class: "pills" }, REASONS.map((text) => this.button(text, () => { reason.value = text; reason.focus(); }))),
      el("label", { class: "field", for: reason.id }, el("span", { text: "Why should it never run?" }), reason),
      el("div", { class: "actions" }, el("button", { class: "button slim main", text: "Reject this ad" }),
        this.button("Cancel", () => this.close(this.reject))));
    this.buttons.hidden = true;
    this.below.replaceChildren(form);
    reason.focus();
  }
}
