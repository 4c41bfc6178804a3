/* The product's photograph on Create: chosen, shown, sent at once, taken back. */

import { Problem, request } from "./api.js";
import { byId, notice } from "./dom.js";

const BYTES_MAX = 8 * 1024 * 1024;
const TYPES = ["image/png", "image/jpeg", "image/webp"];
const NOTHING = "";

const shownOf = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new Problem({ detail: "The file cannot be read: choose it again." }, 0));
  reader.readAsDataURL(file);
});

const refusalOf = (file) => {
  if (!TYPES.includes(file.type)) { return `${file.name} is no PNG, JPEG or WebP file: export the picture as one of these and choose that.`; }
  if (file.size > BYTES_MAX) {
    return `${file.name} has ${(file.size / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 1 })} MB, and at most 8 MB can be sent: make it smaller, 2,000 pixels are plenty.`;
  }
  return "";
};

/* `image` is what the service calls it, once it is sent; `sending` resolves when nothing is on its way any more. */
export class Photograph {
  constructor({ onChange }) {
    this.onChange = onChange;
    this.image = NOTHING;
    this.sending = Promise.resolve();
    this.turn = 0;
    byId("photograph-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) { this.sending = this.take(file); }
    });
    // Browsers differ on Enter, which may send the form instead; Space opens the choice in all of them.
    byId("photograph-file").addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); event.target.click(); }
    });
    byId("photograph-remove").addEventListener("click", () => { this.remove(); byId("photograph-file").focus(); });
    const place = byId("photograph");
    place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      if (event.dataTransfer.files[0]) { this.sending = this.take(event.dataTransfer.files[0]); }
    });
  }

  /* One that is chosen while another is on its way takes its place. */
  async take(file) {
    this.remove();
    const { turn } = this;
    const refusal = refusalOf(file);
    if (refusal) { this.refuse(refusal); return; }
    try {
      byId("photograph-says").textContent = `Sending ${file.name} …`;
      const [shown, answer] = await Promise.all([shownOf(file), request("POST", "/api/photographs", { body: file, headers: { "Content-Type": file.type } })]);
      const { image } = await answer.json();
      if (turn === this.turn) { this.show(image, shown, file.name); }
    } catch (error) {
      if (turn === this.turn) { this.refuse(error instanceof Problem ? error.message : "The picture could not be sent: try again."); }
    }
  }

  show(image, shown, name) {
    this.image = image;
    const preview = byId("photograph-preview");
    preview.src = shown;
    preview.hidden = false;
    byId("photograph-remove").hidden = false;
    byId("photograph-choose").textContent = "Choose another";
    byId("photograph-says").textContent = `${name} is taken. Where and how it was shot was removed.`;
    this.onChange();
  }

  refuse(text) { byId("photograph-says").replaceChildren(notice(text)); }

  remove() {
    this.turn += 1;
    const had = this.image;
    this.image = NOTHING;
    const preview = byId("photograph-preview");
    preview.hidden = true;
    preview.removeAttribute("src");
    byId("photograph-remove").hidden = true;
    byId("photograph-choose").textContent = "Choose a picture";
    byId("photograph-says").replaceChildren();
    if (had) { this.onChange(); }
  }
}
