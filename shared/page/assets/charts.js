// Charts: what they show, the data behind them, and how uPlot draws it.
import * as t from './text.js';

export const ranges = { '15m': ['15 min', 5], '1h': ['1 h', 10], '6h': ['6 h', 30], '24h': ['24 h', 60] }; // words, seconds between polls
const lengths = { '15m': 900e3, '1h': 3600e3, '6h': 21600e3, '24h': 86400e3 };

const tag = (name) => (line) => line.tags[name] ?? '';
const fixed = (text) => () => text;

// usedShare makes of the free and the whole space of each file system the share that
// is used: bytes of a card and of a disk fit on no common scale.
export function usedShare(lines) {
  const sizes = new Map(lines.filter((l) => l.name === 'filesystem.size_bytes').map((l) => [l.tags.mountpoint, l.values]));
  return lines.filter((l) => l.name === 'filesystem.available_bytes' && sizes.has(l.tags.mountpoint)).map((l) => {
    const size = sizes.get(l.tags.mountpoint);
    return { ...l, values: l.values.map((free, i) => (free === null || !size[i] ? null : 100 * (1 - free / size[i]))) };
  });
}

// groups are asked for together, while their place is open. Each makes one chart, or one for each
// of its names where it has titles. A group with a tag in by shows the values with the largest mean,
// the others are in a list. So does one without by that is crowded, by its newest values.
export const groups = [
  { id: 'cpu', place: 'device', title: 'CPU', names: { 'cpu.usage_percent': (l) => (l.tags.core === 'all' ? 'all' : `core ${l.tags.core ?? ''}`) }, plural: 'cores', format: t.percent, wide: 5, max: 100, first: 'all', thin: true },
  { id: 'units', place: 'device', title: 'GPU, NPU and video', names: { 'devfreq.load_percent': (l) => l.tags.type || l.tags.device || '', 'mpp.load_percent': tag('engine') }, key: tag('device'), plural: 'units', format: t.percent, wide: 5, max: 100 },
  { id: 'heat', place: 'device', title: 'Temperatures', names: { 'thermal.zone_celsius': (l) => l.tags.type || l.tags.zone || '', 'hwmon.temp_celsius': (l) => `${l.tags.chip ?? ''} ${l.tags.sensor ?? ''}`.trim() }, key: tag('zone'), plural: 'sensors', format: t.celsius, wide: 7, free: true },
  { id: 'net', place: 'device', by: 'interface', plural: 'interfaces', titles: { 'network.transmit_bytes_per_second': 'Network, sent', 'network.receive_bytes_per_second': 'Network, received' }, format: t.bits, bits: true },
  { id: 'memory', place: 'more', always: true, title: 'Memory', names: { 'memory.used_bytes': fixed('used'), 'memory.swap_used_bytes': fixed('swap used'), 'memory.total_bytes': fixed('total') }, format: t.bytes, fill: true, unfilled: 'total', base: 1024 },
  { id: 'load', place: 'more', title: 'Load', names: { 'load.average_1m': fixed('1 min'), 'load.average_5m': fixed('5 min'), 'load.average_15m': fixed('15 min') }, format: t.plain, wide: 5 },
  { id: 'space', place: 'more', always: true, title: 'Disk space used', names: { 'filesystem.available_bytes': tag('mountpoint'), 'filesystem.size_bytes': tag('mountpoint') }, derive: usedShare, plural: 'file systems', format: t.percent, wide: 5, max: 100 },
  { id: 'busy', place: 'more', by: 'device', plural: 'disks', titles: { 'disk.busy_percent': 'Disks busy' }, format: t.percent, wide: 5, max: 100 },
  { id: 'disk', place: 'more', by: 'device', plural: 'disks', titles: { 'disk.written_bytes_per_second': 'Disks, written', 'disk.read_bytes_per_second': 'Disks, read' }, format: t.perSecond, base: 1024 },
  { id: 'pending', place: 'delivery', title: 'Pending rows', names: { 'storage.metrics_pending_upload': fixed('rows') }, format: t.count, fill: true },
  { id: 'oldest', place: 'delivery', title: 'Age of the oldest pending row', names: { 'storage.oldest_pending_seconds': fixed('age') }, format: t.duration, fill: true, time: true },
  { id: 'file', place: 'storage', title: 'Database and WAL', names: { 'storage.database_size_bytes': fixed('database'), 'storage.wal_size_bytes': fixed('WAL') }, format: t.bytes, base: 1024 },
];
const shownAtFirst = 5; // values of a group that has a list
const crowd = 10; // lines that one chart shows without a list
const seriesOfAnAnswer = 200;
for (const group of groups) {
  group.chosen = new Set(); // values that somebody opened
  if (group.by) group.names = Object.fromEntries(Object.keys(group.titles).map((name) => [name, tag(group.by)]));
}

const natural = (a, b) => a.localeCompare(b, 'en', { numeric: true });

// Data holds the points of every series for one range, on one grid of time.
export class Data {
  constructor(range) {
    this.range = range;
    this.groups = new Map(); // by id: {from, step, n, next, lines: Map(key -> {name, tags, values}), more}
    this.ranks = new Map(); // by id: {all: [{value, mean, ids}], shown: [value], at: when}
  }

  url(names, ids, since) {
    const q = new URLSearchParams([...names.map((n) => ['name', n]), ...ids.map((i) => ['id', i]), ['range', this.range]]);
    if (since) q.set('since', since);
    return `/api/series?${q}`;
  }

  rankURL(group) {
    return `/api/busiest?${new URLSearchParams([...Object.keys(group.names).map((n) => ['name', n]), ['by', group.by], ['range', this.range]])}`;
  }

  // rank takes the values of a group, the busiest first. What is shown stays, and keeps its order
  // and colour. It returns the ids of the series that are shown and not yet there.
  rank(group, all) {
    const known = new Set(all.map((r) => r.value));
    const before = this.ranks.get(group.id);
    const shown = (before?.shown ?? []).filter((v) => known.has(v));
    const room = shownAtFirst - shown.filter((v) => !group.chosen.has(v)).length;
    const top = all.map((r) => r.value).filter((v) => !shown.includes(v) && !group.chosen.has(v)).slice(0, Math.max(0, room));
    if (group.by) top.sort(natural); // else the worst one is the first
    shown.push(...top, ...[...group.chosen].filter((v) => known.has(v) && !shown.includes(v)));
    this.ranks.set(group.id, { all, shown, at: Date.now() });
    const old = new Set(before && this.groups.has(group.id) ? this.idsOf(group, before) : []);
    return this.idsOf(group).filter((id) => !old.has(id));
  }

  // crowded ranks the lines of a group that is read as a whole, if one chart is too small for them.
  crowded(group, lines) {
    const { step } = this.groups.get(group.id);
    const all = lines.filter((l) => l.label !== group.first).map((l) => ({ value: l.label, mean: newest(l.values, step), ids: [] }));
    if (!group.plural || all.length <= crowd) this.ranks.delete(group.id);
    else this.rank(group, all.sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity)));
  }

  // rankDue: what is plugged in appears within a minute, in the list within five.
  rankDue(group) {
    const rank = group.by && this.groups.has(group.id) && this.ranks.get(group.id);
    return rank && Date.now() - rank.at > (rank.shown.length < shownAtFirst ? 60e3 : 300e3);
  }

  // toggle shows or hides a value of a group, and returns the ids that are wanted for it.
  toggle(group, value) {
    const { all, shown } = this.ranks.get(group.id);
    if (group.chosen.delete(value)) {
      shown.splice(shown.indexOf(value), 1);
      return [];
    }
    group.chosen.add(value);
    shown.push(value);
    return all.find((r) => r.value === value).ids;
  }

  idsOf(group, { all, shown } = this.ranks.get(group.id)) {
    return all.filter((r) => shown.includes(r.value)).flatMap((r) => r.ids).slice(0, seriesOfAnAnswer);
  }

  // take puts an answer behind what is there, and lets go of what has left the range.
  take(group, answer) {
    const step = answer.step_ms;
    const n = Math.round(lengths[this.range] / step);
    const from = answer.next_ms - (n - 1) * step;
    const old = this.groups.get(group.id);
    const lines = new Map();
    const put = (key, line, start, values) => {
      let into = lines.get(key);
      if (!into) lines.set(key, (into = { name: line.name, tags: line.tags, values: new Array(n).fill(null) }));
      const shift = (start - from) / step;
      for (let i = 0; i < values.length; i++) {
        if (i + shift >= 0 && i + shift < n && values[i] !== null) into.values[i + shift] = values[i];
      }
    };
    if (old) for (const [key, line] of old.lines) put(key, line, old.from, line.values);
    for (const line of answer.series) {
      // Labels of the device may have changed: then it is the same line to a person.
      if (Object.hasOwn(group.names, line.name)) put(JSON.stringify([line.name, group.names[line.name](line), group.key?.(line)]), line, answer.from_ms, line.values);
    }
    const more = Math.max(old?.more ?? 0, group.by ? 0 : answer.left_out);
    this.groups.set(group.id, { from, step, n, next: answer.next_ms, lines, more });
  }

  // portions are groups that can be asked for at once: one answer has 200 series.
  portions() {
    const all = [];
    let size = Infinity;
    for (const group of groups) {
      if (!this.groups.has(group.id)) continue;
      const ids = group.by ? this.idsOf(group) : [];
      const lines = group.by ? ids.length : this.groups.get(group.id).lines.size;
      if (size + lines > 150) {
        all.push({ groups: [], names: [], ids: [] });
        size = 0;
      }
      all.at(-1).groups.push(group);
      all.at(-1).ids.push(...ids);
      if (!group.by) all.at(-1).names.push(...Object.keys(group.names));
      size += lines;
    }
    return all.filter((p) => p.names.length + p.ids.length);
  }

  lines(id) {
    return [...(this.groups.get(id)?.lines.values() ?? [])]; // also of what is hidden again
  }

  // latest is the newest value of a line, if it is not old.
  latest(id, wanted) {
    for (const line of this.lines(id)) {
      if (wanted(line)) return newest(line.values, this.groups.get(id).step);
    }
    return null;
  }
}

export function newest(values, step) {
  for (let i = values.length - 1; i >= 0 && i >= values.length - 1 - Math.max(2, 130e3 / step); i--) {
    if (values[i] !== null) return values[i];
  }
  return null;
}

// joined makes holes that are no longer than a line's own rhythm something that
// uPlot draws across (undefined), and leaves the others gaps (null).
function joined(values) {
  const at = [];
  values.forEach((v, i) => v !== null && at.push(i));
  if (at.length < 2) return values;
  const steps = at.slice(1).map((v, i) => v - at[i]).sort((a, b) => a - b);
  const rhythm = steps[Math.floor(steps.length / 2)] * 2.5;
  const out = values.slice();
  for (let i = 1; i < at.length; i++) {
    if (at[i] - at[i - 1] <= Math.max(rhythm, 2)) out.fill(undefined, at[i - 1] + 1, at[i]);
  }
  return out;
}

const narrow = matchMedia('(max-width: 760px)');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// legendColumns gives the entries of a legend columns that depend on the names alone: an entry that
// grows with its value would move everything below.
function legendColumns(legend, labels, group) {
  const longest = Math.min(24, Math.max(...labels.map((l) => l.length)));
  legend.style.setProperty('--entry', `${Math.round(longest * 6.6 + (group.wide ?? 10) * 7.2 + 32)}px`);
}

// Chart is one card with a plot.
class Chart {
  constructor(group, title) {
    this.group = group;
    this.root = t.el('section', 'chart');
    const head = t.el('div', 'chart-head');
    this.at = t.el('span', 'at');
    head.append(t.el('h3', '', title), this.at);
    this.legend = t.el('div', 'legend');
    this.plot = t.el('div', 'plot');
    this.plot.setAttribute('role', 'img'); // its values are in the legend, as text
    this.plot.setAttribute('aria-label', `${title}, over time`);
    this.root.append(head, this.legend, this.plot);
    this.hidden = new Set();
    this.key = '';
    new ResizeObserver(() => this.resize()).observe(this.root);
  }

  width() {
    return Math.max(120, Math.floor(this.plot.clientWidth));
  }

  resize() {
    if (this.u && this.u.width !== this.width()) this.u.setSize({ width: this.width(), height: this.height() });
  }

  height() {
    return narrow.matches ? 124 : 168;
  }

  forget() {
    this.key = '';
  }

  show(set, lines, sync) {
    const x = Array.from({ length: set.n }, (_, i) => (set.from + i * set.step) / 1000);
    this.step = set.step;
    this.more = set.more;
    this.values = lines.map((l) => l.values);
    const data = [x, ...lines.map((l) => joined(l.values))];
    const labels = lines.map((l) => l.label);
    const key = JSON.stringify(labels);
    if (key !== this.key) {
      this.key = key;
      this.build(labels, data, sync);
    } else {
      this.u.setData(data);
    }
    this.say();
  }

  build(labels, data, sync) {
    const g = this.group;
    const font = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
    const series = labels.map((label, i) => {
      const stroke = css(`--c${(g.first ? (i + 1) % labels.length : i) % 10 + 1}`);
      const thin = g.thin && label !== g.first;
      const filled = g.fill && label !== g.unfilled;
      return {
        label, stroke, show: !this.hidden.has(label), width: thin ? 1 : 1.8, alpha: thin ? 0.55 : 1, points: { show: false },
        dash: label === g.unfilled ? [4, 4] : undefined, fill: filled ? stroke + '22' : undefined,
      };
    });
    legendColumns(this.legend, labels, g);
    const rest = this.more ? [t.el('span', 'rest', `and ${this.more} more`)] : [];
    this.u?.destroy();
    this.chips = labels.map((label, i) => this.chip(label, series[i].stroke, i));
    const first = labels.indexOf(g.first); // drawn last, so that it lies on top
    this.legend.replaceChildren(...(first < 0 ? [] : [this.chips[first].button]), ...this.chips.filter((c, i) => i !== first).map((c) => c.button), ...rest);
    const axis = { stroke: css('--soft'), font, grid: { stroke: css('--grid'), width: 1 }, ticks: { show: false } };
    this.u = new uPlot({
      width: this.width(), height: this.height(), series: [{}, ...series], legend: { show: false }, padding: [8, 16, 0, 0],
      cursor: {
        sync: { key: sync }, y: false, drag: { x: false, y: false }, points: { size: 7 },
        dataIdx: (u, s, i) => (s === 0 ? i : this.nearest(s - 1, i)),
      },
      scales: { y: { range: (u, low, high) => this.scale(low, high) } },
      axes: [
        { ...axis, size: 26, space: 64, values: (u, all) => all.map((s) => t.tick(new Date(s * 1000))) },
        { ...axis, size: 62, space: 34, gap: 4, values: (u, all) => all.map((v) => g.format(v)), ...this.splits() },
      ],
      hooks: { setCursor: [() => this.say()] },
    }, data, this.plot);
    const over = this.u.over;
    over.addEventListener('touchmove', (e) => {
      const box = over.getBoundingClientRect();
      this.u.setCursor({ left: e.touches[0].clientX - box.left, top: 1 });
    }, { passive: true });
  }

  splits() {
    const incrs = [];
    if (this.group.time) return { incrs: [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800] };
    if (this.group.bits) {
      for (let e = 1; e < 1e13; e *= 10) incrs.push(e / 8, (2 * e) / 8, (5 * e) / 8);
      return { incrs };
    }
    if (this.group.base !== 1024) return {};
    for (let e = 0; e < 50; e++) incrs.push(2 ** e);
    return { incrs };
  }

  // scale begins at 0, except where that says nothing.
  scale(low, high) {
    if (low === null || high === null) return [0, this.group.max ?? 1];
    if (this.group.max) return [0, Math.max(this.group.max, high)]; // a video engine can be above 100 %
    if (this.group.free) {
      const room = Math.max(4, (high - low) * 0.15);
      return [Math.floor(low - room), Math.ceil(high + room)];
    }
    return [0, high > 0 ? high * 1.08 : 1];
  }

  chip(label, colour, i) {
    const button = t.el('button');
    button.type = 'button';
    button.setAttribute('aria-pressed', String(!this.hidden.has(label)));
    const dot = t.el('i');
    dot.style.background = colour;
    const value = t.el('b');
    button.append(dot, t.el('span', 'label', label), value);
    button.addEventListener('click', () => {
      const show = this.hidden.has(label);
      if (show) this.hidden.delete(label);
      else this.hidden.add(label);
      button.setAttribute('aria-pressed', String(show));
      this.u.setSeries(i + 1, { show });
    });
    return { button, value };
  }

  nearest(s, i) {
    const values = this.values[s] ?? [];
    const reach = Math.max(3, 65e3 / this.step);
    for (let d = 0; d <= reach; d++) {
      if (values[i - d] !== undefined && values[i - d] !== null) return i - d;
      if (values[i + d] !== undefined && values[i + d] !== null) return i + d;
    }
    return i;
  }

  // say writes the values at the cursor, else the newest.
  say() {
    const i = this.u?.cursor.idx;
    const on = i !== null && i !== undefined && this.u.cursor.left >= 0;
    this.chips.forEach((c, s) => {
      const v = on ? this.values[s]?.[this.nearest(s, i)] : newest(this.values[s], this.step);
      c.value.textContent = v === null || v === undefined ? '–' : this.group.format(v);
    });
    const seconds = this.step < 60e3 ? { second: '2-digit' } : {};
    this.at.textContent = on ? new Date(this.u.data[0][i] * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...seconds }) : '';
  }
}

// Board keeps the charts in their places.
export class Board {
  constructor(places, choose) {
    this.places = places; // by name
    this.choose = choose; // called with a group and a value of it to show or hide
    this.charts = new Map();
    this.lists = new Map(); // by group, of what is not shown
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const c of this.charts.values()) c.forget();
      this.redraw?.();
    });
  }

  // wanted says whether somebody can see a group, or its tile.
  wanted(group) {
    return group.always || !this.places[group.place].closest('details:not([open])');
  }

  draw(data) {
    this.redraw = () => this.draw(data);
    const order = Object.fromEntries(Object.keys(this.places).map((place) => [place, []]));
    for (const group of groups) {
      const set = data.groups.get(group.id);
      if (set) this.group(group, set, data);
      for (const name of Object.keys(group.titles ?? { '': '' })) order[group.place].push(this.charts.get(group.id + name)?.root);
      if (group.by) order[group.place].push(this.lists.get(group)?.root); // else it is in the one chart
    }
    for (const [name, place] of Object.entries(this.places)) {
      const roots = order[name].filter(Boolean);
      roots.forEach((root, at) => { // those that stand right are not moved
        if (place.children[at] !== root) place.insertBefore(root, place.children[at] ?? null);
      });
      const known = groups.every((g) => g.place !== name || data.groups.has(g.id));
      if (roots.length || known) this.empty(place, roots.length > 0);
    }
  }

  // group makes the charts of a group from its data. A group without data keeps the charts that it
  // has: they are about to be drawn again.
  group(group, set, data) {
    const lines = group.derive?.(data.lines(group.id)) ?? data.lines(group.id);
    name(group, lines);
    if (!group.by) data.crowded(group, lines);
    const rank = data.ranks.get(group.id);
    const parts = new Map();
    for (const line of lines) {
      if (rank && line.label !== group.first && !rank.shown.includes(line.label)) continue;
      const part = group.titles ? line.name : '';
      if (!parts.has(part)) parts.set(part, []);
      parts.get(part).push(line);
    }
    for (const [part, title] of Object.entries(group.titles ?? { '': group.title })) {
      const id = group.id + part;
      let chart = this.charts.get(id);
      if (!parts.has(part)) {
        chart?.u?.destroy();
        chart?.root.remove();
        this.charts.delete(id);
        continue;
      }
      if (!chart) this.charts.set(id, (chart = new Chart(group, title)));
      chart.show(set, ordered(group, parts.get(part), rank?.shown), 'page');
    }
    if (group.plural) this.list(group, rank ?? { all: [], shown: [] });
  }

  // list shows what a group has beside the busiest, with what it had on average.
  list(group, { all, shown }) {
    let list = this.lists.get(group);
    const rest = all.filter((r) => !shown.includes(r.value) || group.chosen.has(r.value)).sort((a, b) => natural(a.value, b.value));
    if (!rest.length) {
      list?.root.remove();
      this.lists.delete(group);
      return;
    }
    if (!list) {
      list = { root: t.el('details', 'others'), summary: t.el('summary'), legend: t.el('div', 'legend'), buttons: new Map() };
      list.legend.setAttribute('role', 'group');
      list.root.append(list.summary, list.legend);
      this.lists.set(group, list);
    }
    const chart = group.by ? undefined : this.charts.get(group.id)?.root;
    if (chart && list.root.parentNode !== chart) chart.append(list.root);
    const words = `${rest.length} more ${rest.length === 1 ? group.plural.slice(0, -1) : group.plural}`;
    if (list.summary.textContent !== words) list.summary.textContent = words;
    list.legend.setAttribute('aria-label', `${words}: show in the charts`);
    const key = JSON.stringify(rest.map((r) => r.value));
    if (list.key !== key) {
      list.key = key;
      list.buttons = new Map(rest.map(({ value }) => {
        const button = list.buttons.get(value) ?? t.el('button');
        button.type = 'button';
        button.replaceChildren(t.el('span', 'label', value), t.el('b'));
        button.onclick = () => this.choose(group, value);
        return [value, button];
      }));
      list.legend.replaceChildren(...list.buttons.values());
      legendColumns(list.legend, rest.map((r) => r.value), group);
    }
    for (const r of rest) {
      const button = list.buttons.get(r.value);
      button.setAttribute('aria-pressed', String(group.chosen.has(r.value)));
      button.lastChild.textContent = r.mean === null ? '–' : `${group.by ? '⌀ ' : ''}${group.format(r.mean)}`;
    }
  }

  empty(place, has) {
    const note = place.querySelector(':scope > .nothing');
    if (has) note?.remove();
    else if (!note) place.replaceChildren(t.el('p', 'nothing', 'Nothing is stored for this time yet.'));
  }
}

// name gives the lines their labels. Where two have the same, such as zones of one type, the key of
// the group tells them apart.
function name(group, lines) {
  const seen = new Map();
  for (const l of lines) {
    l.label = group.names[l.name](l);
    const same = l.name + l.label;
    seen.set(same, (seen.get(same) ?? 0) + 1);
  }
  for (const l of lines) if (seen.get(l.name + l.label) > 1 && group.key) l.label = `${l.label} ${group.key(l)}`;
}

// ordered sorts the lines of a chart: as they came to be shown, else by name.
function ordered(group, lines, shown) {
  const names = Object.keys(group.names);
  const first = (l) => (l.label === group.first ? 1 : 0);
  return lines.slice().sort((a, b) => first(a) - first(b) || (shown ? shown.indexOf(a.label) - shown.indexOf(b.label) : names.indexOf(a.name) - names.indexOf(b.name) || natural(a.label, b.label)));
}
