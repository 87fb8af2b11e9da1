/**
 * HTTP dates (RFC 9110 §5.6.7), read strictly: what is not one of the three forms is no date. `Date.parse` takes "0" for the
 * year 2000 and a bare day for midnight, which would turn an `Expires` that means "already over" into a lifetime.
 */

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const imfFixdate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const rfc850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d{2})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const asctime = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([A-Z][a-z]{2}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;

const dayMs = 86_400_000;

/** Milliseconds since 1970, or null for what is no HTTP date. `nowMs` settles the century of the obsolete two-digit years. */
export function parseHttpDate(text: string | null, nowMs: number): number | null {
  if (text === null) return null;
  const value = text.trim();
  const fixed = imfFixdate.exec(value);
  if (fixed) return fromParts(fixed[3], fixed[2], fixed[1], fixed[4], fixed[5], fixed[6]);
  const old = rfc850.exec(value);
  if (old) return fromParts(String(centuryOf(Number(old[3]), nowMs)), old[2], old[1], old[4], old[5], old[6]);
  const c = asctime.exec(value);
  if (c) return fromParts(c[6], c[1], c[2], c[3], c[4], c[5]);
  return null;
}

/** The preferred form, as `Sun, 06 Nov 1994 08:49:37 GMT`. */
export function formatHttpDate(ms: number): string {
  const day = Math.floor(ms / dayMs);
  const second = Math.floor((ms - day * dayMs) / 1000);
  const { year, month, date } = civilFromDays(day);
  const weekday = days[(((day + 4) % 7) + 7) % 7];
  const clock = [Math.floor(second / 3600), Math.floor(second / 60) % 60, second % 60].map(two).join(":");
  return `${weekday}, ${two(date)} ${months[month - 1]} ${String(year).padStart(4, "0")} ${clock} GMT`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

function fromParts(
  year: string | undefined,
  monthName: string | undefined,
  date: string | undefined,
  hour: string | undefined,
  minute: string | undefined,
  second: string | undefined,
): number | null {
  const month = months.indexOf(monthName ?? "") + 1;
  const [y, d, h, m, s] = [year, date, hour, minute, second].map(Number) as [number, number, number, number, number];
  // 60 is a leap second (RFC 9110 §5.6.7).
  if (month === 0 || h > 23 || m > 59 || s > 60) return null;
  const day = daysFromCivil(y, month, d);
  const back = civilFromDays(day);
  if (back.month !== month || back.date !== d) return null;
  return day * dayMs + (h * 3600 + m * 60 + s) * 1000;
}

/** RFC 9110 §5.6.7: more than 50 years ahead is the most recent year in the past with those digits. */
function centuryOf(twoDigits: number, nowMs: number): number {
  const thisYear = civilFromDays(Math.floor(nowMs / dayMs)).year;
  const year = Math.floor(thisYear / 100) * 100 + twoDigits;
  return year > thisYear + 50 ? year - 100 : year;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar, counted in eras of 400 years that begin in March. */
function daysFromCivil(year: number, month: number, date: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + date - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

function civilFromDays(day: number): { year: number; month: number; date: number } {
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const date = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, date };
}
