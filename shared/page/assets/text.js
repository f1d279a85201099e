// Formats numbers and times. Nothing here makes markup: text from the store reaches the page by
// textContent alone.

export function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined && text !== null) e.textContent = text;
  return e;
}

export const byId = (id) => document.getElementById(id);

export const dash = '–';

export function count(n) {
  if (n === null || n === undefined) return dash;
  return Math.round(n).toLocaleString('en-GB');
}

function scaled(n, base, units) {
  let i = 0;
  let v = Math.abs(n);
  while (v >= base - 0.5 && i < units.length - 1) { // rounds up to the next unit
    v /= base;
    i++;
  }
  const digits = v >= 100 || i === 0 ? 0 : v >= 10 ? 1 : 2;
  return `${n < 0 ? '−' : ''}${Number(v.toFixed(digits))} ${units[i]}`;
}

export const bytes = (n) => (n === null || n === undefined ? dash : scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']));
export const perSecond = (n) => `${bytes(n)}/s`;
export const bits = (bytesPerSecond) => scaled(bytesPerSecond * 8, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']);
export const traffic = (n) => scaled(n, 1000, ['B', 'kB', 'MB', 'GB', 'TB']);
export const percent = (n) => `${n >= 10 || n === 0 ? Math.round(n) : n.toFixed(1)} %`;
export const celsius = (n) => `${Math.round(n * 10) / 10} °C`;
export const plain = (n) => String(Math.round(n * 100) / 100);

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return '0 s';
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) {
    const h = Math.floor(s / 3600);
    const m = Math.round((s % 3600) / 60);
    return h < 10 && m > 0 && m < 60 ? `${h} h ${m} min` : `${Math.round(s / 3600)} h`;
  }
  const d = s / 86400;
  return d < 730 ? `${d < 10 ? Number(d.toFixed(1)) : Math.round(d)} days` : `${Math.round(d / 365)} years`;
}

export function time(date, now = new Date()) {
  const clock = date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  if (date.toDateString() === now.toDateString()) return clock;
  return `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${clock}`;
}

// tick is a time on an axis; midnight shows the date.
export function tick(date) {
  if (date.getHours() || date.getMinutes() || date.getSeconds()) return date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
}

// ago uses the device's clock: the browser's may differ.
export const ago = (text, now) => (text ? `${duration((now - new Date(text)) / 1000)} ago` : 'never');
