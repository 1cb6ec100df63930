/**
 * The page of the example chat. In reading order: chat.js (what it knows), outputs.js (what it holds of
 * outputs), blocks.js and markdown.js (how that is shown while it grows), message.js, conversation.js,
 * talk.js, schema.js, fields.js, question.js and steer.js (what jobs ask and are told), sidebar.js, composer.js, inbox.js, connection.js, demo.js; dom.js has the small things.
 *
 * After it has loaded it speaks to the server by its one WebSocket only.
 */

import { connect } from "/_trouper/trouper.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ConnectionView } from "./connection.js";
import { Conversation } from "./conversation.js";
import { Demo } from "./demo.js";
import { byId, soon } from "./dom.js";
import { Inbox } from "./inbox.js";
import { Outputs } from "./outputs.js";
import { Sidebar } from "./sidebar.js";

/** The conversation that the address names. @returns {string | null} */
function addressed() {
  const match = /^#\/t\/(.+)$/.exec(location.hash);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

/** @param {string | null} thread */
function go(thread) {
  const hash = thread === null ? "#/" : `#/t/${encodeURIComponent(thread)}`;
  if (location.hash === hash || (thread === null && location.hash === "")) return;
  location.hash = hash;
}

async function start() {
  const answer = await fetch("/config.json");
  if (answer.status === 401 || answer.redirected) return location.assign("/login");
  const config = await answer.json();
  if (document.readyState !== "complete") await new Promise((resolve) => addEventListener("load", resolve, { once: true }));

  const client = connect();
  /** @type {{render: () => void}[]} */
  const views = [];
  const render = () => {
    for (const view of views) view.render();
    chat.readOpen();
  };
  const chat = new Chat(client, config, () => soon(render));
  const outputs = new Outputs(client);
  const composer = new Composer(chat, (thread) => go(thread));
  const conversation = new Conversation(chat, outputs, (sending) => composer.edit(sending));
  const sidebar = new Sidebar(chat);
  const inbox = new Inbox(chat, go);
  new ConnectionView(client);
  views.push(sidebar, conversation, inbox);
  /** What Esc closes, the uppermost first. @type {{close: () => boolean}[]} */
  const closable = [inbox, sidebar];
  if (config.demo) {
    const demo = new Demo(client);
    views.push(demo);
    closable.push(demo);
  }

  byId("new").addEventListener("click", () => {
    sidebar.toggle(false);
    go(null);
    byId("composer-text").focus();
  });
  addEventListener("hashchange", () => chat.open(addressed()));
  document.addEventListener("visibilitychange", () => soon(render));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) closable.some((panel) => panel.close());
  });

  exposed(client, chat, outputs);
  render();
  await Promise.all([chat.loadThreads(), chat.open(addressed())]);
  render();
  document.documentElement.dataset.ready = "true";
}

/** What tests (and the curious) ask the page. @param {any} client @param {any} chat @param {any} outputs */
function exposed(client, chat, outputs) {
  /** @type {any} */ (window).trouperChat = {
    client,
    chat,
    /** The text that the page holds of a job's output. @param {string} job */
    outputText: (job) => outputs.get(job)?.text ?? null,
    /** Its SHA-256, in hex. @param {string} job */
    outputHash: (job) => outputs.get(job)?.textHash ?? null,
    /** @param {string} job */
    output: (job) => {
      const held = outputs.get(job);
      if (!held) return null;
      const { status, attempt, entries, rewinds, sha256, verified, events, progress } = held;
      return { status, attempt, entries, rewinds, sha256, verified, events, progress, units: held.text.length };
    },
  };
}

start();
