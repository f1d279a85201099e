// Panels: all parts of the page except the charts.
import * as t from './text.js';

const { el, byId, dash } = t;

// keep changes a text only where it differs, which leaves screen readers and selections alone.
function keep(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function tile(name, value, more, tone, meter) {
  const e = el('div', `tile ${tone ?? ''}`);
  e.append(el('div', 'name', name), el('div', 'value', value));
  if (meter !== undefined) {
    const bar = el('div', 'meter');
    const inner = el('div');
    inner.style.width = `${Math.min(100, Math.max(0, meter * 100)).toFixed(1)}%`;
    bar.append(inner);
    e.append(bar);
  }
  if (more) e.append(el('div', 'more', more));
  return e;
}

function pairs(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value, className]) => [el('dt', className, name), el('dd', className, value)]));
}

const titles = {
  ok: ['OK', 'Samples are collected, stored and delivered.'],
  degraded: ['Degraded', ''],
  error: ['Error', ''],
};

// coded makes code elements of what stands between backticks.
function coded(e, text) {
  e.append(...text.split('`').map((part, i) => (i % 2 ? el('code', '', part) : part)));
}

export function banner(s, now) {
  const { status, since } = s.state;
  let [title, line] = titles[status] ?? [status, ''];
  let tone = status;
  const draining = s.delivery.draining;
  const reasons = s.state.reasons.filter((r) => !draining || !r.code.startsWith('backlog')); // whose progress is shown
  if (draining && status !== 'error') {
    title = 'Catching up';
    line = 'The backlog is being sent. Nothing to do.';
    tone = 'busy';
  } else if (status === 'ok' && attention(s.board).length) {
    title = 'Warning';
    line = 'Samples are collected and stored, but the device needs attention.';
    tone = 'degraded';
  } else if (status === 'ok' && !s.delivery.enabled) {
    line = 'Samples are collected and stored. Delivery is disabled.';
  } else if (status === 'ok' && !s.storage.rows) {
    line = 'No samples are stored yet.';
  }
  byId('banner').className = `banner ${tone}`;
  keep(byId('state'), title);
  keep(byId('state-line'), line + (since ? ` Since ${t.time(new Date(since), now)} (${t.duration((now - new Date(since)) / 1000)}).` : ''));
  document.title = `${tone === 'ok' ? '' : '● '}${s.device || s.host || 'belabox-metrics'} – ${title}`;
  const key = JSON.stringify([reasons, s.delivery.last_error]);
  if (byId('reasons').dataset.key === key) return; // screen readers would repeat it
  byId('reasons').dataset.key = key;
  byId('reasons').replaceChildren(...reasons.map((r) => {
    const note = r.severity === 'ok'; // one line until it is opened
    const li = el('li');
    const body = note ? el('details') : li;
    const what = el(note ? 'summary' : 'p', note ? 'what note' : 'what', r.words);
    if (r.since) what.append(el('span', 'since', ` · since ${t.time(new Date(r.since), now)}`));
    body.append(what);
    if (note) li.append(body);
    const line = (className, name, text) => {
      const p = el('p', className);
      p.append(el('span', '', `${name}: `)); // a string becomes a text node
      coded(p, text);
      body.append(p);
    };
    line('todo', 'Remedy', r.remedy);
    if (s.delivery.last_error && r.code.startsWith('upload_')) line('raw', 'Last error', s.delivery.last_error);
    return li;
  }));
}

const limitWords = { throttled: 'throttled', frequency_capped: 'frequency capped', soft_temperature_limit: 'temperature limit reached' };

// attention returns what is wrong with the hardware and the services, each with what to do.
function attention(b) {
  const lines = [];
  const times = (l, one, many) => {
    if (!l.events) return 'now';
    const n = l.events === 1 ? `1 ${one}` : `${t.count(l.events)} ${many}`;
    return `${l.counting ? 'at least ' : ''}${n} today${l.active ? ', now' : l.last ? `, the last at ${t.time(new Date(l.last))}` : ''}`;
  };
  for (const l of b.limits ?? []) {
    if (l.reason === 'undervoltage') lines.push([`Power supply too weak: ${times(l, 'undervoltage event', 'undervoltage events')}`, 'Use a stronger power supply and a shorter or thicker cable.']);
  }
  const slowed = (b.limits ?? []).filter((l) => l.reason !== 'undervoltage');
  if (slowed.length) lines.push([`Slowed down: ${slowed.map((l) => `${limitWords[l.reason] ?? l.reason} ${times(l, 'time', 'times')}`).join('; ')}`, 'Improve the cooling, or the power supply if it is too weak.']);
  for (const e of b.emmc ?? []) {
    if (e.life_used_percent >= 90) lines.push([`Flash memory worn: ${e.device} has used ${e.life_used_percent >= 100 ? 'up' : 'at least 90 % of'} its life`, 'Plan its replacement.']);
    else if (e.pre_eol >= 3) lines.push([`Flash memory worn: ${e.device} has used more than 90 % of its spare blocks`, 'Plan its replacement.']);
  }
  const down = b.services_down ?? [];
  if (down.length) lines.push([`${down.length === 1 ? 'Service' : 'Services'} down: ${down.join(', ')}`, 'See “systemctl status” and the journal of the unit.']);
  return lines;
}

// board lists it in the banner.
export function board(s) {
  const lines = attention(s.board);
  const key = JSON.stringify(lines);
  if (byId('board').dataset.key === key) return;
  byId('board').dataset.key = key;
  byId('board').replaceChildren(...lines.map(([what, todo]) => {
    const li = el('li');
    li.append(el('p', 'what', what), el('p', 'todo', todo));
    return li;
  }));
}

export function silence(error, since) {
  byId('banner').className = 'banner lost';
  keep(byId('state'), 'No answer from the daemon');
  keep(byId('state-line'), `Since ${t.time(since)}: ${error}. The page retries every few seconds; the rest of it is out of date. The page of the other daemon (above) may still answer.`);
  byId('reasons').replaceChildren();
  byId('reasons').dataset.key = '';
  document.title = '● no answer – belabox-metrics';
}

export function head(s) {
  keep(byId('device'), s.device || 'This device');
  keep(byId('host'), s.host && s.host !== s.device ? s.host : 'belabox-metrics');
  keep(byId('version'), `${s.daemon.name} ${s.daemon.version}`);
  const tabs = byId('tabs');
  if (tabs.children.length) return;
  for (const name of ['collectord', 'shipperd']) {
    const a = el('a', '', name);
    if (name === s.daemon.name) {
      a.setAttribute('aria-current', 'page');
      a.href = '/';
    } else if (s.ports[name]) {
      const u = new URL(location.href);
      u.port = s.ports[name];
      u.pathname = '/';
      a.href = u.href;
    } else continue;
    tabs.append(a);
  }
}

export function glance(s, data, now) {
  const tiles = [];
  const one = (id, name) => data.latest(id, (l) => l.name === name);
  const cpu = data.latest('cpu', (l) => l.tags.core === 'all');
  if (cpu !== null) tiles.push(tile('CPU', t.percent(cpu), '', cpu > 90 ? 'warn' : '', cpu / 100));
  const used = one('memory', 'memory.used_bytes');
  const total = one('memory', 'memory.total_bytes');
  for (const unit of ['gpu', 'npu']) {
    const load = data.latest('units', (l) => l.tags.type === unit);
    if (load !== null) tiles.push(tile(unit.toUpperCase(), t.percent(load), '', load > 90 ? 'warn' : '', load / 100));
  }
  if (used !== null && total) tiles.push(tile('Memory', t.bytes(used), `of ${t.bytes(total)}`, used / total > 0.92 ? 'warn' : '', used / total));
  const heat = data.hottest();
  if (heat) tiles.push(tile('Hottest', t.celsius(heat.value), heat.label, heat.value > 85 ? 'warn' : ''));
  const full = data.fullest();
  if (full) tiles.push(tile('Fullest disk', t.percent(full.value), full.label, full.value > 90 ? 'warn' : '', full.value / 100));
  const up = data.total('net', 'network.transmit_bytes_per_second');
  const down = data.total('net', 'network.receive_bytes_per_second');
  const rank = data.ranks.get('net');
  const part = rank && rank.all.length > rank.shown.length ? `${rank.shown.length} of ${rank.all.length} interfaces` : '';
  const via = s.board.default_route ? `via ${s.board.default_route}` : '';
  if (up !== null) tiles.push(tile('Network', `↑ ${t.bits(up)}`, `↓ ${t.bits(down ?? 0)}\n${[part, via].filter(Boolean).join(', ')}`));
  const d = s.delivery;
  tiles.push(tile('Pending', t.count(d.pending_rows), d.oldest_pending ? `oldest ${t.ago(d.oldest_pending, now)}${d.newest_sent ? `\nnewer sent up to ${t.ago(d.newest_sent, now)}` : ''}` : 'rows'));
  tiles.push(tile('Last upload', d.enabled ? t.ago(d.last_accepted, now) : 'off', d.server ? `to ${d.server}` : ''));
  byId('glance').replaceChildren(...tiles);
}

export function delivery(s, now) {
  const d = s.delivery;
  keep(byId('server'), d.enabled ? `to ${d.server}${d.verify ? ', read back' : ', not read back'}` : 'disabled');
  const tiles = [tile('Last upload', t.ago(d.last_accepted, now), d.last_verified ? `read back ${t.ago(d.last_verified, now)}` : '')];
  const u = d.traffic;
  if (u?.month_bytes) {
    tiles.push(tile('Link today', t.traffic(u.today_sent_bytes + u.today_received_bytes), `↑ ${t.traffic(u.today_sent_bytes)} ↓ ${t.traffic(u.today_received_bytes)}\n${u.interface ? `on ${u.interface}, ` : ''}estimated`));
    const forecast = u.forecast_bytes ? `forecast ${t.traffic(u.forecast_bytes)}` : '';
    const over = u.budget_bytes && (u.forecast_bytes ?? u.month_bytes) > u.budget_bytes * 1.05;
    tiles.push(tile('Link this month', t.traffic(u.month_bytes), `${u.budget_bytes ? `of ${t.traffic(u.budget_bytes)}, ` : ''}${forecast}\n${u.budget_mode ?? ''}`, over ? 'warn' : '', u.budget_bytes ? u.month_bytes / u.budget_bytes : undefined));
  }
  byId('unsampled').hidden = !u?.interface_remedy;
  if (u?.interface_remedy) keep(byId('unsampled'), u.interface_remedy);
  const letters = Object.values(d.dead_letters ?? {}).reduce((a, b) => a + b, 0);
  tiles.push(tile('Dead letters', t.count(letters), letters ? 'could not be delivered' : '', letters ? 'warn' : ''));
  byId('delivery').replaceChildren(...tiles);

  const g = d.draining;
  byId('drain').hidden = !g;
  if (g) {
    keep(byId('drain-words'), `${t.count(g.rows)} of ${t.count(g.peak_rows)} rows left`);
    keep(byId('drain-time'), `${t.count(g.rows_per_second)} rows per second, about ${t.duration(g.seconds_left)} left`);
    byId('drain-meter').style.width = `${(g.done * 100).toFixed(1)}%`;
  }
  const rows = [['Uploaded', t.count(d.uploaded_total)], ['Verified at the server', t.count(d.verified_total)], ['Sent again', t.count(d.resent_total)]];
  const named = (title, counts, none) => {
    const all = Object.entries(counts ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
    rows.push([title, all.length ? t.count(all.reduce((n, [, m]) => n + m, 0)) : none, all.length ? 'bad' : '']);
    for (const [reason, n] of all) rows.push([reason.replaceAll('_', ' '), t.count(n), 'under']);
  };
  named('Dead letters', d.dead_letters, 'none');
  named('Dropped undelivered', d.dropped_total, 'none');
  rows.push(['Failed attempts, retried', t.count(d.failures_total)]);
  pairs(byId('outcome'), rows);
}

export function storage(s, now) {
  const g = s.storage;
  const used = g.database_bytes + g.wal_bytes;
  keep(byId('storage-line'), g.rows ? `${t.count(g.rows)} rows; verified rows are kept for ${t.duration(g.retention_seconds)}` : '');
  const tiles = [
    tile('Database', t.bytes(g.database_bytes), `and ${t.bytes(g.wal_bytes)} WAL, of ${t.bytes(g.budget_bytes)}`, '', used / g.budget_bytes),
  ];
  if (g.full_in_seconds !== undefined) tiles.push(tile('Without a server', t.duration(g.full_in_seconds), 'until the oldest sample is dropped', g.full_in_seconds < 6 * 3600 ? 'warn' : ''));
  if (g.written_per_day) tiles.push(tile('Written per day', t.bytes(g.written_per_day.value), `from the last ${t.duration(g.written_per_day.basis_seconds)}`));
  if (g.disk_free_bytes !== undefined) tiles.push(tile('Disk free', t.bytes(g.disk_free_bytes), ''));
  for (const e of s.board.emmc ?? []) {
    const used = e.life_used_percent;
    const life = used === undefined ? dash : used >= 100 ? 'used up' : `${used} to ${used + 10} % used`;
    const spare = { 2: ', spare blocks more than 80 % used', 3: ', spare blocks more than 90 % used' }[e.pre_eol] ?? '';
    tiles.push(tile('eMMC life', life, e.device + spare, used >= 90 || e.pre_eol >= 3 ? 'bad' : used >= 80 || e.pre_eol >= 2 ? 'warn' : ''));
  }
  const clock = s.components.time?.facts;
  if (clock) {
    const known = Boolean(clock.checked);
    tiles.push(tile('Clock', known ? skew(clock.skew_ms) : 'not checked', known ? `${source(clock.source)}${t.ago(clock.checked, now)}` : '', s.state.reasons.some((r) => r.code === 'clock_skew') ? 'warn' : ''));
  }
  byId('storage').replaceChildren(...tiles);
}

// source names the reference clock; collectord has the value from shipperd.
function source(address) {
  try {
    return `with ${new URL(address).host}, `;
  } catch {
    return '';
  }
}

function skew(ms) {
  if (Math.abs(ms) < 1) return 'exact';
  const size = Math.abs(ms) < 1000 ? `${Math.abs(ms)} ms` : t.duration(Math.abs(ms) / 1000);
  return `${size} ${ms > 0 ? 'ahead' : 'behind'}`;
}

// cardOf returns the card of a daemon. It stays, as its list of runs can be open and have the focus.
function cardOf(name) {
  const known = [...byId('daemons').children].find((c) => c.dataset.of === name);
  if (known) return known;
  const card = el('section', 'card');
  card.dataset.of = name;
  const past = el('details');
  past.append(el('summary', '', 'Last runs'), el('ul', 'run-list'));
  card.append(el('h3', '', name), el('dl'), past);
  byId('daemons').append(card);
  return card;
}

export function daemons(s, now) {
  keep(byId('boot'), s.board.watchdog_reset ? 'The hardware watchdog restarted this machine.' : '');
  for (const d of s.daemons ?? []) {
    const card = cardOf(d.name);
    pairs(card.querySelector('dl'), [
      ['State', d.running ? `running for ${d.since ? t.duration((now - new Date(d.since)) / 1000) : dash}` : 'not running', d.running ? '' : 'bad'],
      ['Version', d.version || dash],
      ['Unclean stops', d.unclean ? `${d.unclean} of the last ${d.last.length - (d.since ? 1 : 0)}` : 'none', d.unclean ? 'bad' : ''],
    ]);
    card.querySelector('details').hidden = !d.last.length;
    card.querySelector('ul').replaceChildren(...d.last.slice(0, 5).map((r) => {
      const li = el('li');
      const current = d.since && r.started === d.last[0].started && !r.ended;
      li.append(el('span', '', `from ${t.time(new Date(r.started), now)}`));
      if (current) li.append(el('span', 'now', 'running'));
      else if (r.clean && r.ended) li.append(el('span', '', `stopped ${t.time(new Date(r.ended), now)}`));
      else li.append(el('span', 'bad', 'killed, or power cut'));
      return li;
    }));
  }
  const list = s.components.collectors?.facts?.list ?? [];
  byId('collectors-card').hidden = !list.length;
  byId('collectors').replaceChildren(...list.map((c) => {
    const li = el('li', c.failing_since ? 'bad' : '');
    li.append(el('span', 'dot'), el('span', '', c.name));
    if (c.failing_since) li.append(el('div', 'why', `since ${t.time(new Date(c.failing_since), now)}: ${c.error ?? ''}`));
    return li;
  }));
}

// ledger shows the accounts of all samples ever stored.
export function ledger(l, now) {
  const list = el('dl');
  const dropped = Object.values(l.dropped ?? {}).reduce((a, b) => a + b, 0);
  pairs(list, [
    ['Ever stored', t.count(l.inserted)],
    ['Verified at the server', t.count(l.verified), 'under'],
    ['Accepted, not read back yet', t.count(l.accepted), 'under'],
    ['Pending', t.count(l.pending), 'under'],
    ['Strings, never sent', t.count(l.unsendable), 'under'],
    ['Dead letters', t.count(l.rejected), 'under'],
    ['Dropped', t.count(dropped), 'under'],
    ['Unaccounted for', t.count(l.difference), l.difference ? 'total bad' : 'total'],
  ]);
  byId('ledger').replaceChildren(list, el('p', 'hint', `As of ${t.time(new Date(l.time), now)}.`));
}

export function noLedger(why) {
  byId('ledger').replaceChildren(el('p', 'hint', `The ledger is not available: ${why}. “belabox-shipperd audit” prints it.`));
}
