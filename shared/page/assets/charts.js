// Charts: what they show, the data behind them, and how uPlot draws it.
import * as t from './text.js';

export const ranges = { '15m': ['15 min', 5], '1h': ['1 h', 10], '6h': ['6 h', 30], '24h': ['24 h', 60] }; // words, seconds between polls
const lengths = { '15m': 900e3, '1h': 3600e3, '6h': 21600e3, '24h': 86400e3 };

const tag = (name) => (line) => line.tags[name] ?? '';
const fixed = (text) => () => text;

// usedShare makes of the free and the whole space of each file system the share that
// is used: bytes of a card and of a disk fit on no common scale.
function usedShare(lines) {
  const sizes = new Map(lines.filter((l) => l.name === 'filesystem.size_bytes').map((l) => [l.tags.mountpoint, l.values]));
  return lines.filter((l) => l.name === 'filesystem.available_bytes' && sizes.has(l.tags.mountpoint)).map((l) => {
    const size = sizes.get(l.tags.mountpoint);
    return { ...l, values: l.values.map((free, i) => (free === null || !size[i] ? null : 100 * (1 - free / size[i]))) };
  });
}

// groups are asked for together; each makes one chart, or one for each value of split.
export const groups = [
  { id: 'cpu', place: 'device', title: 'CPU', names: { 'cpu.usage_percent': (l) => (l.tags.core === 'all' ? 'all cores' : `core ${l.tags.core ?? ''}`) }, format: t.percent, max: 100, first: 'all cores', thin: true },
  { id: 'memory', place: 'device', title: 'Memory', names: { 'memory.used_bytes': fixed('used'), 'memory.swap_used_bytes': fixed('swap used'), 'memory.total_bytes': fixed('total') }, format: t.bytes, fill: true, unfilled: 'total', base: 1024 },
  { id: 'heat', place: 'device', title: 'Temperatures', names: { 'thermal.zone_celsius': (l) => l.tags.type || l.tags.zone || '', 'hwmon.temp_celsius': (l) => `${l.tags.chip ?? ''} ${l.tags.sensor ?? ''}`.trim() }, format: t.celsius, free: true },
  { id: 'load', place: 'device', title: 'Load', names: { 'load.average_1m': fixed('1 min'), 'load.average_5m': fixed('5 min'), 'load.average_15m': fixed('15 min') }, format: t.plain },
  { id: 'net', place: 'device', title: (s) => `Network ${s}`, split: tag('interface'), names: { 'network.receive_bytes_per_second': fixed('received'), 'network.transmit_bytes_per_second': fixed('sent') }, format: t.bits, fill: true, bits: true },
  { id: 'disk', place: 'device', title: (s) => `Disk ${s}`, split: tag('device'), names: { 'disk.read_bytes_per_second': fixed('read'), 'disk.written_bytes_per_second': fixed('written') }, format: t.perSecond, base: 1024 },
  { id: 'busy', place: 'device', title: 'Disks busy', names: { 'disk.busy_percent': tag('device') }, format: t.percent, max: 100 },
  { id: 'space', place: 'device', title: 'Disk space used', names: { 'filesystem.available_bytes': tag('mountpoint'), 'filesystem.size_bytes': tag('mountpoint') }, derive: usedShare, format: t.percent, max: 100 },
  { id: 'pending', place: 'delivery', title: 'Pending rows', names: { 'storage.metrics_pending_upload': fixed('rows') }, format: t.count, fill: true },
  { id: 'oldest', place: 'delivery', title: 'Age of the oldest pending row', names: { 'storage.oldest_pending_seconds': fixed('age') }, format: t.duration, fill: true, time: true },
  { id: 'file', place: 'storage', title: 'Database and WAL', names: { 'storage.database_size_bytes': fixed('database'), 'storage.wal_size_bytes': fixed('WAL') }, format: t.bytes, base: 1024 },
];

// Data holds the points of every series for one range, on one grid of time.
export class Data {
  constructor(range) {
    this.range = range;
    this.groups = new Map(); // by id: {from, step, n, next, lines: Map(key -> {name, tags, values})}
  }

  url(names, since) {
    const q = new URLSearchParams();
    for (const n of names) q.append('name', n);
    q.set('range', this.range);
    if (since) q.set('since', since);
    return `/api/series?${q}`;
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
      if (Object.hasOwn(group.names, line.name)) put(JSON.stringify([line.name, group.names[line.name](line), group.split?.(line)]), line, answer.from_ms, line.values);
    }
    const more = Math.max(old?.more ?? 0, answer.left_out);
    this.groups.set(group.id, { from, step, n, next: answer.next_ms, lines, more });
  }

  // portions are groups that can be asked for at once: one answer has 200 series.
  portions() {
    const all = [[]];
    let size = 0;
    for (const group of groups) {
      const lines = this.groups.get(group.id).lines.size;
      if (size + lines > 150 && size) {
        all.push([]);
        size = 0;
      }
      all.at(-1).push(group);
      size += lines;
    }
    return all;
  }

  get complete() {
    return this.groups.size === groups.length;
  }

  lines(id) {
    return [...(this.groups.get(id)?.lines.values() ?? [])];
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

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

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
    if (this.u && this.u.width !== this.width()) this.u.setSize({ width: this.width(), height: 168 });
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
    const labels = lines.map((l) => this.group.names[l.name](l));
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
    const rest = this.more ? [t.el('span', 'rest', `and ${this.more} more`)] : [];
    this.u?.destroy();
    this.chips = labels.map((label, i) => this.chip(label, series[i].stroke, i));
    const first = labels.indexOf(g.first); // drawn last, so that it lies on top
    this.legend.replaceChildren(...(first < 0 ? [] : [this.chips[first].button]), ...this.chips.filter((c, i) => i !== first).map((c) => c.button), ...rest);
    const axis = { stroke: css('--soft'), font, grid: { stroke: css('--grid'), width: 1 }, ticks: { show: false } };
    this.u = new uPlot({
      width: this.width(), height: 168, series: [{}, ...series], legend: { show: false }, padding: [8, 16, 0, 0],
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
    if (this.group.max) return [0, this.group.max];
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
  constructor(places) {
    this.places = places; // by name
    this.charts = new Map();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const c of this.charts.values()) c.forget();
      this.redraw?.();
    });
  }

  draw(data) {
    this.redraw = () => this.draw(data);
    const seen = [];
    for (const group of groups) {
      const set = data.groups.get(group.id);
      if (!set) continue;
      const parts = new Map();
      for (const line of group.derive?.(data.lines(group.id)) ?? data.lines(group.id)) {
        const part = group.split ? group.split(line) : '';
        if (!parts.has(part)) parts.set(part, []);
        parts.get(part).push(line);
      }
      for (const part of [...parts.keys()].sort()) {
        const id = JSON.stringify([group.id, part]);
        let chart = this.charts.get(id);
        if (!chart) {
          chart = new Chart(group, group.split ? group.title(part) : group.title);
          this.charts.set(id, chart);
        }
        seen.push([group.place, id, chart]);
        this.put(group.place, seen, chart);
        chart.show(set, ordered(group, parts.get(part)), 'page');
      }
    }
    for (const [id, chart] of this.charts) {
      if (!seen.some(([, other]) => other === id)) {
        chart.u?.destroy();
        chart.root.remove();
        this.charts.delete(id);
      }
    }
    for (const [name, place] of Object.entries(this.places)) {
      const has = seen.some(([p]) => p === name);
      if (has || data.complete) this.empty(place, has);
    }
  }

  // put keeps a chart behind the ones before it without moving those that stand right.
  put(place, seen, chart) {
    const at = seen.filter(([p]) => p === place).length - 1;
    const parent = this.places[place];
    if (parent.children[at] !== chart.root) parent.insertBefore(chart.root, parent.children[at] ?? null);
  }

  empty(place, has) {
    const note = place.querySelector(':scope > .nothing');
    if (has) note?.remove();
    else if (!note) place.replaceChildren(t.el('p', 'nothing', 'Nothing is stored for this time yet.'));
  }
}

function ordered(group, lines) {
  const names = Object.keys(group.names);
  const label = (l) => group.names[l.name](l);
  const first = (l) => (label(l) === group.first ? 1 : 0);
  return lines.slice().sort((a, b) => first(a) - first(b) || names.indexOf(a.name) - names.indexOf(b.name) || label(a).localeCompare(label(b), 'en', { numeric: true }));
}
