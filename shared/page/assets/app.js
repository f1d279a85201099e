// The page: requests the JSON and passes it to the panels and charts.
import { Board, Data, groups, newest, ranges } from './charts.js';
import * as panels from './panels.js';
import { byId, el, time } from './text.js';

const statusEvery = 5000;
const accountEvery = 60000;

async function ask(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(15000), cache: 'no-cache' });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `HTTP ${answer.status}`);
  return { body, at: new Date(answer.headers.get('Date') ?? Date.now()) };
}

// Values for the tiles.
Data.prototype.total = function total(id, name) {
  const values = this.lines(id).filter((l) => l.name === name).map((l) => newest(l.values, this.groups.get(id).step)).filter((v) => v !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) : null;
};
Data.prototype.hottest = function hottest() {
  const group = groups.find((g) => g.id === 'heat');
  return this.lines('heat')
    .map((l) => ({ value: newest(l.values, this.groups.get('heat').step), label: group.names[l.name](l) }))
    .filter((h) => h.value !== null)
    .sort((a, b) => b.value - a.value)[0];
};

const board = new Board({ device: byId('device-charts'), delivery: byId('delivery-charts'), storage: byId('storage-charts') });
let data = new Data('1h');
let status = null;
let now = new Date(); // by the device's clock
let lostSince = null;

function panelsOf(s) {
  panels.head(s);
  panels.banner(s, now);
  panels.glance(s, data, now);
  panels.delivery(s, now);
  panels.storage(s, now);
  panels.daemons(s, now);
}

// account loads the ledger, which the daemon computes only now and then.
async function account() {
  try {
    panels.ledger((await ask('/api/ledger')).body, now);
  } catch (e) {
    panels.noLedger(e.message);
  }
}

async function refresh() {
  try {
    const { body, at } = await ask('/api/status');
    status = body;
    now = at;
    lostSince = null;
    document.body.classList.remove('stale');
    panelsOf(status);
    byId('live').textContent = `live, ${time(at)} by the device's clock`;
  } catch (e) {
    lostSince ??= new Date();
    document.body.classList.add('stale');
    panels.silence(e.message, lostSince);
  }
}

// load reads the whole range, group by group, so that one slow request does not delay the others.
async function load(range) {
  const mine = (data = new Data(range));
  mine.loading = true;
  try {
    for (const group of groups) {
      const { body } = await ask(mine.url(Object.keys(group.names)));
      if (data !== mine) return;
      mine.take(group, body);
      show(mine);
    }
    document.documentElement.dataset.loaded = range;
  } finally {
    mine.loading = false;
  }
}

// follow reads the points since the last request, or all where some are missing.
async function follow() {
  const mine = data;
  if (mine.loading) return;
  if (!mine.complete) return load(mine.range);
  const since = Math.min(...[...mine.groups.values()].map((s) => s.next - s.step));
  for (const some of mine.portions()) {
    const { body } = await ask(mine.url(some.flatMap((g) => Object.keys(g.names)), since));
    if (data !== mine) return;
    for (const group of some) mine.take(group, body);
  }
  show(mine);
}

function show(mine) {
  board.draw(mine);
  if (status) panels.glance(status, mine, now);
}

// loop repeats f while the page is visible.
async function loop(f, pause) {
  for (;;) {
    if (!document.hidden) await f().catch(() => {}); // refresh shows the error
    await new Promise((done) => {
      const end = () => {
        clearTimeout(timer);
        document.removeEventListener('visibilitychange', end);
        done();
      };
      const timer = setTimeout(end, pause());
      document.addEventListener('visibilitychange', end);
    });
  }
}

function choose(range) {
  for (const b of byId('ranges').children) b.setAttribute('aria-pressed', String(b.dataset.range === range));
  load(range).catch(() => {});
}

for (const [range, [words]] of Object.entries(ranges)) {
  const b = el('button', '', words);
  b.type = 'button';
  b.dataset.range = range;
  b.addEventListener('click', () => choose(range));
  byId('ranges').append(b);
}
loop(refresh, () => statusEvery); // the banner comes first
choose('1h');
setTimeout(() => loop(account, () => accountEvery), 1000);
setTimeout(() => loop(follow, () => ranges[data.range][1] * 1000), statusEvery);
