// The page: requests the JSON and passes it to the panels and charts.
import { Board, Data, groups, newest, ranges, usedShare } from './charts.js';
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
    .map((l) => ({ value: newest(l.values, this.groups.get('heat').step), label: l.label ?? group.names[l.name](l) }))
    .filter((h) => h.value !== null)
    .sort((a, b) => b.value - a.value)[0];
};
Data.prototype.fullest = function fullest() {
  return usedShare(this.lines('space'))
    .map((l) => ({ value: newest(l.values, this.groups.get('space').step), label: l.tags.mountpoint }))
    .filter((f) => f.value !== null)
    .sort((a, b) => b.value - a.value)[0];
};

const places = { device: 'device-charts', more: 'more-charts', delivery: 'delivery-charts', storage: 'storage-charts' };
const board = new Board(Object.fromEntries(Object.entries(places).map(([name, id]) => [name, byId(id)])), choose);
let data = new Data('1h');
let status = null;
let now = new Date(); // by the device's clock
let lostSince = null;

function panelsOf(s) {
  panels.head(s);
  panels.banner(s, now);
  panels.board(s);
  panels.glance(s, data, now);
  panels.delivery(s, now);
  panels.storage(s, now);
  panels.daemons(s, now);
}

// account loads the ledger, which the daemon computes only now and then.
async function account() {
  if (!byId('delivery-more').open) return;
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

// load reads the whole of a range.
async function load(range) {
  data = new Data(range);
  return complete(data);
}

const missing = (mine) => groups.find((g) => board.wanted(g) && !mine.groups.has(g.id));

// complete reads what is missing, group by group, so that one slow request does not delay the
// others.
async function complete(mine) {
  if (mine.loading) return;
  mine.loading = true;
  try {
    for (let group = missing(mine); group; group = missing(mine)) {
      const ids = group.by ? await rank(mine, group) : [];
      await fetchGroup(mine, group, group.by ? [] : Object.keys(group.names), ids);
      if (data !== mine) return;
      show(mine);
    }
    document.documentElement.dataset.loaded = mine.range;
  } finally {
    mine.loading = false;
  }
}

async function rank(mine, group) {
  const { body } = await ask(mine.rankURL(group));
  return mine.rank(group, body.busiest);
}

// fetchGroup reads series of a group over the whole range. Others of the group go on where they were.
async function fetchGroup(mine, group, names, ids) {
  if (names.length + ids.length) {
    const { body } = await ask(mine.url(names, ids));
    const next = mine.groups.get(group.id)?.next ?? Infinity;
    mine.take(group, body);
    const set = mine.groups.get(group.id);
    set.next = Math.min(next, set.next);
  } else if (!mine.groups.has(group.id)) mine.groups.set(group.id, { next: Infinity, lines: new Map() }); // there is none
}

// follow reads the points since the last request, and what is missing.
async function follow() {
  const mine = data;
  if (mine.loading) return;
  if (missing(mine)) await complete(mine);
  if (data !== mine) return;
  for (const group of groups.filter((g) => mine.rankDue(g))) await fetchGroup(mine, group, [], await rank(mine, group));
  const since = Math.min(...[...mine.groups.values()].map((s) => s.next - s.step).filter(Number.isFinite));
  for (const some of mine.portions()) {
    const { body } = await ask(mine.url(some.names, some.ids, since));
    if (data !== mine) return;
    for (const group of some.groups) mine.take(group, body);
  }
  if (data === mine) show(mine);
}

// choose shows a value of a group that is not among the busiest, or hides it again.
async function choose(group, value) {
  const mine = data;
  if (!mine.ranks.has(group.id)) return;
  const ids = mine.toggle(group, value);
  show(mine);
  await fetchGroup(mine, group, [], ids).catch(() => {}); // the next points come with the others
  if (data === mine) show(mine);
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

function chooseRange(range) {
  for (const b of byId('ranges').children) b.setAttribute('aria-pressed', String(b.dataset.range === range));
  load(range).catch(() => {});
}

for (const [range, [words]] of Object.entries(ranges)) {
  const b = el('button', '', words);
  b.type = 'button';
  b.dataset.range = range;
  b.addEventListener('click', () => chooseRange(range));
  byId('ranges').append(b);
}
const folds = document.querySelectorAll('details.fold');
for (const fold of folds) {
  fold.open = !matchMedia('(max-width: 760px)').matches;
  fold.addEventListener('toggle', () => {
    if (!fold.open) { // what is not seen is not asked for
      for (const g of groups) if (!board.wanted(g)) data.groups.delete(g.id);
      return;
    }
    complete(data).catch(() => {});
    if (status && fold.id === 'delivery-more') account(); // after the banner
  });
}
loop(refresh, () => statusEvery); // the banner comes first
chooseRange('1h');
setTimeout(() => loop(account, () => accountEvery), 1000);
setTimeout(() => loop(follow, () => ranges[data.range][1] * 1000), statusEvery);
