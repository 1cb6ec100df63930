// node `ws` and socket.io, in the way that their own pages show. `node node_peer.mjs SCENARIO ws|socket.io`
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const scenario = JSON.parse(process.argv[2]);
const kind = process.argv[3];
const require = createRequire(`${process.env.TROUPER_BENCH_NODE_MODULES}/`);

const FILLER = 'Z'.repeat(4096);
const BLOCK = 16; // pieces of the log in one message: 64 KiB
const WINDOW_MS = scenario.window_s * 1000;
const now = () => Number(process.hrtime.bigint()) / 1e6; // ms of the monotonic clock
const token = (due) => `#${Math.round(due * 1000).toString().padStart(14, '0')} `;

// Each stream: its log, and the sessions that watch it. What comes after silence goes at once, what follows
// once per window, which one timer ends for all.
const streams = Array.from({ length: scenario.streams }, (_, number) => ({
  number, log: [], flushed: 0, flushedAt: 0, sessions: new Set(),
}));
for (const stream of streams) {
  for (let i = 0; i < scenario.prefill_bytes; i += FILLER.length) stream.log.push(FILLER);
  stream.flushed = stream.log.length;
}

const message = (stream, from, to) => ({
  stream: stream.number, from, to, text: stream.log.slice(from, to).join(''),
});

let publish; // (stream, message) → to every session of it
let subscribe; // (session, stream): what is in the log, then what comes

function flush(stream, at) {
  if (stream.flushed === stream.log.length) return;
  publish(stream, message(stream, stream.flushed, stream.log.length));
  stream.flushed = stream.log.length;
  stream.flushedAt = at;
}

function write(stream, piece, at) {
  stream.log.push(piece);
  if (at - stream.flushedAt > WINDOW_MS) flush(stream, at);
}

const server = createServer();
if (kind === 'ws') {
  const { WebSocketServer } = require('ws');
  const wss = new WebSocketServer({ server, perMessageDeflate: false });
  publish = (stream, content) => {
    const text = JSON.stringify(content); // once for all sessions
    for (const session of stream.sessions) session.send(text);
  };
  wss.on('connection', (session) => {
    let watched = null;
    let told = false;
    session.on('message', (data) => {
      const stream = streams[JSON.parse(data).stream];
      if (!told) session.send('["subscribed"]');
      if (told || scenario.attach) {
        for (let i = 0; i < stream.flushed; i += BLOCK) {
          session.send(JSON.stringify(message(stream, i, Math.min(i + BLOCK, stream.flushed))));
        }
        stream.sessions.add(session);
        watched = stream;
      }
      told = true;
    });
    session.on('close', () => watched?.sessions.delete(session));
  });
} else {
  const { Server } = require('socket.io');
  const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false, pingInterval: 3600000 });
  publish = (stream, content) => io.to(`s${stream.number}`).emit('output', content);
  io.on('connection', (session) => {
    let told = false;
    session.on('subscribe', (number) => {
      const stream = streams[number];
      if (!told) session.emit('subscribed');
      if (told || scenario.attach) {
        for (let i = 0; i < stream.flushed; i += BLOCK) {
          session.emit('output', message(stream, i, Math.min(i + BLOCK, stream.flushed)));
        }
        session.join(`s${number}`);
      }
      told = true;
    });
  });
}

function go() {
  setInterval(() => { const at = now(); for (const stream of streams) flush(stream, at); }, WINDOW_MS);
  if (scenario.burst_bytes) {
    for (let i = 0; i < scenario.burst_bytes; i += FILLER.length) write(streams[0], FILLER, now());
    return;
  }
  const groups = scenario.source === 'each' ? streams.map((stream) => [stream]) : [streams];
  const pause = 1000 / scenario.per_s;
  for (const group of groups) {
    let due = now();
    const make = () => { // as the others' sources: every token, however late, which setInterval does not
      for (const stream of group) write(stream, token(due), now());
      due += pause;
      setTimeout(make, due - now());
    };
    make();
  }
}

const lines = createInterface({ input: process.stdin });
let started = false;
lines.on('line', () => { if (started) process.exit(0); started = true; go(); });
lines.on('close', () => process.exit(0));
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port, jobs: null })));
