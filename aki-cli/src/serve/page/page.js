"use strict";

const at = id => document.getElementById(id);
const make = (name, props = {}, ...children) => {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
};

// Questions to go with the sample pictures.
const SAMPLES = [
  "what is the red shape?",
  "what is the color of the triangle?",
  "what shape is in the image?",
  "does the image not contain a rectangle?",
  "is there a green shape in the image?",
];
const KINDS = /^image\/(png|jpeg|webp|gif|bmp)$/;

let model = "";
let key = "";
let picture = null; // a data URI
let file = null; // the same as a Blob
let turning = "none"; // how the model sees photos that were taken with a turned camera
let messages = []; // as the API takes them
let running = null; // an AbortController while an answer comes
let view = null; // what is looked at

// ---- The server

async function ask(path, body, signal) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  let reply;
  try {
    reply = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is aki serve still running?");
  }
  if (reply.ok) return reply;
  if (reply.status === 401) at("key-form").hidden = false;
  const told = await reply.json().catch(() => null);
  throw new Error(told?.error?.message ?? `The server answered ${reply.status}.`);
}

function fail(error) {
  at("error").textContent = error.message;
  at("error").hidden = false;
}

async function greet() {
  at("error").hidden = true;
  try {
    const list = await (await ask("/v1/models")).json();
    model = list.data[0].id;
    at("model").textContent = model;
    turning = list.data[0].exif_orientation ? "from-image" : "none";
    at("shown").style.imageOrientation = turning;
    at("key-form").hidden = true;
  } catch (error) {
    fail(error);
  }
}

// ---- The picture

function show(uri, blob, sample) {
  // What is asked, and what is being answered, is about the picture before.
  if (messages.length || running) fresh();
  picture = uri;
  file = blob;
  const image = at("shown");
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 256);
  image.onerror = () => fail(new Error("The browser cannot show this picture; the model may still read it."));
  image.src = uri;
  image.hidden = false;
  at("invite").hidden = true;
  at("error").hidden = true;
  for (const [n, button] of [...document.querySelectorAll("#samples button")].entries())
    button.setAttribute("aria-pressed", n === sample);
}

function read(blob, sample) {
  if (!KINDS.test(blob.type)) return fail(new Error("A PNG, JPEG, WebP, GIF or BMP is expected."));
  const reader = new FileReader();
  reader.onload = () => show(reader.result, blob, sample);
  reader.onerror = () => fail(new Error("The file cannot be read."));
  reader.readAsDataURL(blob);
}

function samples() {
  for (const [n, question] of SAMPLES.entries()) {
    const src = `/samples/${n + 1}.png`;
    const button = make("button", { type: "button", title: question }, make("img", { src, alt: `Sample picture ${n + 1}` }));
    button.setAttribute("aria-pressed", false);
    button.onclick = async () => {
      try {
        read(await (await ask(src)).blob(), n);
        at("question").value = question;
      } catch (error) {
        fail(error);
      }
    };
    at("samples").append(make("li", {}, button));
  }
}

// ---- The conversation

function fresh() {
  running?.abort();
  messages = [];
  view = null;
  at("log").replaceChildren();
  at("view").hidden = true;
  at("empty").hidden = false;
  at("error").hidden = true;
}

function say(role, text) {
  const line = make("p", { textContent: text });
  const item = make("li", { className: role }, line);
  at("log").append(item);
  return { item, line };
}

/** The texts of a stream of events, as they come. */
async function* texts(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data: ") ? line.slice(6).trim() : "";
      if (!data || data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      const choice = event.choices?.[0];
      if (choice?.finish_reason === "length") yield { length: true };
      if (choice?.delta?.content) yield { text: choice.delta.content };
    }
  }
}

async function send() {
  const question = at("question").value.trim();
  if (!question || running) return;
  at("error").hidden = true;
  if (!model) await greet();
  if (!model) return;
  const shows = picture && !messages.length;
  const image = { type: "image_url", image_url: { url: picture } };
  const content = shows ? [image, { type: "text", text: question }] : question;
  const asked = [...messages, { role: "user", content }];
  const told = say("user", question);
  const { item, line } = say("assistant waiting", "");
  at("empty").hidden = true;
  at("question").value = "";
  const control = (running = new AbortController());
  busy(true);
  let answer = "";
  let note = "";
  try {
    const body = {
      model, messages: asked, stream: true,
      temperature: Number(at("temperature").value) || 0,
      max_tokens: Math.max(1, Math.floor(Number(at("tokens").value)) || 256),
    };
    for await (const part of texts(await ask("/v1/chat/completions", body, control.signal))) {
      if (part.length) note = "The longest answer allowed.";
      answer += part.text ?? "";
      line.textContent = answer.trimStart();
    }
  } catch (error) {
    note = "Stopped.";
    if (error.name !== "AbortError") {
      note = "";
      fail(error);
    }
    // Nothing was said: the question is taken back.
    if (!answer.trim() && item.isConnected) {
      told.item.remove();
      item.remove();
      at("empty").hidden = messages.length > 0;
      at("question").value ||= question;
      at("say").textContent = note;
    }
  }
  item.className = "assistant";
  if (running === control) {
    running = null;
    busy(false);
  }
  // Another chat has begun.
  if (!item.isConnected) return;
  if (!answer && !note) note = "The model answered nothing.";
  if (note) item.append(make("p", { className: "note", textContent: note }));
  answer = answer.trim();
  at("say").textContent = answer ? `Answer: ${answer}` : note;
  messages = [...asked, { role: "assistant", content: answer }];
  if (picture && answer) {
    const of = messages;
    const button = make("button", { type: "button", textContent: "See the attention" });
    button.onclick = () => look(of, button);
    item.append(button);
  }
}

function busy(is) {
  at("stop").hidden = !is;
  at("send").disabled = is;
}

// ---- Who looks at whom

/** Little-endian halves in base64. */
function halves(text) {
  const bytes = Uint8Array.from(atob(text), it => it.charCodeAt(0));
  const words = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, n) => {
    const bits = words.getUint16(2 * n, true);
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    return exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24;
  });
}

async function attention(policy, of) {
  const it = await (await ask("/api/attention", { messages: of, policy, answer: policy === "causal" })).json();
  return { ...it, media_to_words: halves(it.media_to_words), words_to_media: halves(it.words_to_media), patches: halves(it.patches) };
}

/** A JPEG without its EXIF: browsers turn what goes onto a canvas by it, whatever they are told. */
async function unturned(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const place = new TextDecoder("latin1").decode(bytes.subarray(0, 1 << 16)).indexOf("Exif\0\0");
  if (place > 0) bytes[place] = 0;
  return new Blob([bytes], { type: blob.type });
}

async function look(of, button) {
  at("error").hidden = true;
  button.disabled = true;
  button.textContent = "Looking …";
  try {
    // One after the other: the queue may have no room for two.
    const image = await createImageBitmap(turning === "none" ? await unturned(file) : file);
    const both = { image, mma: await attention("mma", of), causal: await attention("causal", of) };
    // Another picture or chat may have come meanwhile.
    if (!button.isConnected) return;
    view = both;
    open();
  } catch (error) {
    if (!button.isConnected) return;
    fail(error);
  }
  button.disabled = false;
  button.textContent = "See the attention";
}

function open() {
  const { words, layers, heads } = view.mma;
  at("layer").max = layers.length;
  at("head").max = heads;
  at("layer").value = at("head").value = 0;
  at("words").replaceChildren();
  at("tags").replaceChildren();
  view.buttons = words.map((word, n) => {
    const main = word.part === "question" || word.part === "answer";
    const button = make("button", { type: "button", textContent: word.text || "⏎", className: word.part });
    button.onmouseenter = button.onfocus = button.onclick = () => choose(n);
    if (!word.text) button.setAttribute("aria-label", "line break");
    const last = at("words").lastElementChild;
    if (main && last && last.className !== word.part) at("words").append(make("hr"));
    at(main ? "words" : "tags").append(button);
    return button;
  });
  at("view").hidden = false;
  // The longest word that the picture is shown is most likely what the question is about.
  const asked = [...words.keys()].filter(n => words[n].part === "question" && words[n].shown);
  choose(asked.reduce((most, n) => (words[n].text.length > words[most].text.length ? n : most), asked[0] ?? 0));
  at("view").scrollIntoView({ block: "start" });
}

/** How much each media token has to do with a word, averaged over the layers and heads that are chosen. */
function ofTokens(side, word) {
  const { heads, media, layers, words } = side;
  const values = way() === "media" ? side.media_to_words : side.words_to_media;
  const pick = (chosen, count) => (chosen ? [chosen - 1] : [...Array(count).keys()]);
  const [some, few] = [pick(Number(at("layer").value), layers.length), pick(Number(at("head").value), heads)];
  const sum = new Float64Array(media);
  for (const layer of some)
    for (const head of few) {
      const start = ((layer * heads + head) * words.length + word) * media;
      for (let n = 0; n < media; n++) sum[n] += values[start + n];
    }
  return sum.map(it => it / (some.length * few.length));
}

/** The same, patch by patch. */
function ofPatches(side, tokens) {
  const count = side.grid * side.grid;
  const cells = new Float64Array(count);
  for (let n = 0; n < side.media; n++)
    for (let p = 0; p < count; p++) cells[p] += tokens[n] * side.patches[n * count + p];
  return cells;
}

const way = () => document.querySelector("[name=way]:checked").value;
const sum = values => values.reduce((all, it) => all + it, 0);
/** What a word gets of a media token's attention, or media tokens of a word's. */
const share = tokens => sum(tokens) / (way() === "media" ? tokens.length : 1);
const percent = it => (it === 0 ? "0" : it < 0.0001 ? "< 0.01 %" : `${(100 * it).toFixed(it < 0.01 ? 2 : 1)} %`);

function choose(word) {
  view.word = word;
  draw();
}

function draw() {
  const { mma, causal, word, buttons } = view;
  const name = (slider, side) => (Number(slider.value) ? `${side[slider.value - 1]}` : "mean of all");
  const said = [["layer", mma.layers], ["head", [...Array(mma.heads).keys()]]];
  for (const [id, list] of said) {
    at(`${id}-said`).textContent = name(at(id), list);
    at(id).setAttribute("aria-valuetext", name(at(id), list));
  }
  const shares = buttons.map((_, n) => share(ofTokens(mma, n)));
  const main = n => ["question", "answer"].includes(mma.words[n].part);
  const most = Math.max(...shares.filter((_, n) => main(n)), Number.MIN_VALUE);
  for (const [n, button] of buttons.entries()) {
    button.setAttribute("aria-pressed", n === word);
    button.style.setProperty("--share", Math.min(1, shares[n] / most));
  }
  const sides = [["mma", mma], ["causal", causal]].map(([id, side]) => {
    const tokens = ofTokens(side, word);
    return { id, side, share: share(tokens), cells: ofPatches(side, tokens) };
  });
  const top = Math.max(...sides.flatMap(({ cells }) => [...cells]));
  at("most").textContent = percent(way() === "media" ? top / mma.media : top);
  const text = mma.words[word].text || "line break";
  for (const { id, side, share, cells } of sides) {
    paint(at(id), cells, side.grid, top);
    at(`${id}-share`).textContent = percent(share);
    at(`${id}-note`).textContent = note(id, side, word, share);
    const label = id === "mma" ? "Mutual attention" : "Causal attention";
    at(id).setAttribute("aria-label", `${label}: the word “${text}”, ${percent(share)}${where(cells, side.grid)}`);
  }
  const [a, b] = sides;
  const verb = way() === "media" ? "the picture gives it" : "it gives the picture";
  at("told").textContent =
    `The word “${text}”: under MMA ${verb} ${percent(a.share)} of the attention${where(a.cells, mma.grid)}; ` +
    `under causal attention ${b.share ? percent(b.share) + where(b.cells, mma.grid) : "exactly nothing"}.`;
}

/** Where most of it is, in words. */
function where(cells, grid) {
  const top = Math.max(...cells);
  if (!top) return "";
  const strong = [...cells.keys()].filter(n => cells[n] > 0.7 * top);
  const range = (name, list) => {
    const [from, to] = [Math.min(...list) + 1, Math.max(...list) + 1];
    return from === to ? `${name} ${from}` : `${name}s ${from}–${to}`;
  };
  const [rows, columns] = [strong.map(n => Math.floor(n / grid)), strong.map(n => n % grid)];
  return `, most at ${range("row", rows)}, ${range("column", columns)} of ${grid}`;
}

function note(id, side, word, share) {
  if (way() === "media" && !side.words[word].shown) {
    const answer = side.words[word].part === "answer";
    if (id === "causal") return "Exactly 0: under the causal rule the picture's tokens see nothing behind them." + own(side);
    return answer ? "0: answers are hidden from the picture under both rules." : "0: only the first question is shown to the picture; this stands behind it.";
  }
  if (way() === "words" && !share) return "0: this stands before the picture, and text sees only what came before.";
  return id === "causal" ? own(side).trim() : "";
}

const own = side => (side.answer === null ? "" : ` The same weights answer here: “${side.answer}”.`);

/** A grey picture with its patches glowing. */
function paint(canvas, cells, grid, top) {
  const pen = canvas.getContext("2d");
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingEnabled = !at("shown").classList.contains("small");
  pen.filter = "grayscale(1) brightness(.62)";
  pen.drawImage(view.image, 0, 0, width, height);
  pen.filter = "none";
  if (!top) return;
  const heat = new OffscreenCanvas(grid, grid);
  const dots = new ImageData(grid, grid);
  cells.forEach((cell, n) => {
    const it = cell / top;
    // From nothing over orange to a warm white.
    const white = Math.max(0, it - 0.7) / 0.3;
    dots.data.set([255, 122 + 111 * white, 26 + 150 * white, 255 * Math.min(1, it * 1.15) * 0.85], 4 * n);
  });
  heat.getContext("2d").putImageData(dots, 0, 0);
  pen.imageSmoothingEnabled = at("smooth").checked;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(heat, 0, 0, width, height);
}

// ---- What people do

at("ask").onsubmit = event => {
  event.preventDefault();
  send();
};
at("question").onkeydown = event => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
};
document.onkeydown = event => {
  if (event.key === "Escape") running?.abort();
};
at("stop").onclick = () => running?.abort();
at("fresh").onclick = () => {
  fresh();
  at("question").focus();
};
at("key-form").onsubmit = event => {
  event.preventDefault();
  const typed = at("key").value.trim();
  // What no header can hold is sent to nobody.
  if (/[^\x21-\x7e]/.test(typed)) return fail(new Error("This is no key: it has blanks or signs that no key has."));
  key = typed;
  greet();
};
at("file").onchange = event => {
  if (event.target.files[0]) read(event.target.files[0]);
  event.target.value = "";
};
document.ondragover = event => {
  event.preventDefault();
  at("drop").classList.add("over");
};
document.ondragleave = () => at("drop").classList.remove("over");
document.ondrop = event => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
};
document.onpaste = event => {
  const file = event.clipboardData.files[0];
  if (file) read(file);
};
for (const control of document.querySelectorAll(".controls input")) control.oninput = () => view && draw();

const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  const is = (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  at("theme").setAttribute("aria-pressed", is);
  return is;
}
dark.onchange = () => theme();
at("theme").onclick = () => {
  const name = theme() ? "light" : "dark";
  theme(name);
  remember(name);
};

/** The theme chosen before, or now. Browsers may keep nothing of a page. */
function remember(name) {
  try {
    if (name) localStorage.setItem("theme", name);
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

theme(remember());
samples();
greet();
