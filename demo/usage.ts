/** Usage counters of one server process; every process knows only its own share. */
export type UsageKind = "image" | "video" | "avatar";

interface Counts {
  image: number;
  video: number;
  avatar: number;
}

interface DayStats {
  readonly success: true;
  readonly data: Readonly<Record<`${"total" | "avg"}_${string}` | "active_sessions_today", number>>;
  readonly date: string;
}

interface SessionDay {
  readonly success: true;
  readonly data: Readonly<Record<`${UsageKind}_count` | `remaining_${string}`, number>> & {
    readonly session_id: string;
    readonly date: string;
  };
}

/** What a session may make a day: images, videos, avatars. */
const allowance: Readonly<Counts> = { image: 10, video: 2, avatar: 1 };

export function dayOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 10);
}

export class UsageCounters {
  /** Day → session → counts. */
  readonly #days = new Map<string, Map<string, Counts>>();
  readonly #sessions = new Set<string>();

  count(session: string, kind: UsageKind, nowMs: number): void {
    const day = dayOf(nowMs);
    const sessions = this.#days.get(day) ?? new Map<string, Counts>();
    this.#days.set(day, sessions);
    const counts = sessions.get(session) ?? { image: 0, video: 0, avatar: 0 };
    counts[kind] += 1;
    sessions.set(session, counts);
    this.#sessions.add(session);
  }

  stats(day: string): DayStats {
    const sessions = this.#days.get(day) ?? new Map<string, Counts>();
    const total = (kind: UsageKind): number => [...sessions.values()].reduce((sum, counts) => sum + counts[kind], 0);
    const mean = (kind: UsageKind): number =>
      sessions.size === 0 ? 0 : Math.round((total(kind) / sessions.size) * 100) / 100;
    const data = {
      total_sessions: this.#sessions.size,
      active_sessions_today: sessions.size,
      total_images_today: total("image"),
      total_videos_today: total("video"),
      total_avatars_today: total("avatar"),
      avg_images_per_session: mean("image"),
      avg_videos_per_session: mean("video"),
      avg_avatars_per_session: mean("avatar"),
    };
    return { success: true, data, date: day };
  }

  session(id: string, day: string): SessionDay {
    const counts = this.#days.get(day)?.get(id) ?? { image: 0, video: 0, avatar: 0 };
    const remaining = (kind: UsageKind): number => Math.max(0, allowance[kind] - counts[kind]);
    const data = {
      session_id: id,
      date: day,
      image_count: counts.image,
      video_count: counts.video,
      avatar_count: counts.avatar,
      remaining_images: remaining("image"),
      remaining_videos: remaining("video"),
      remaining_avatars: remaining("avatar"),
    };
    return { success: true, data };
  }

  /** Newest day first, as `range`. */
  history(id: string): Record<string, unknown> {
    const days = this.#newestFirst().filter((day) => this.#days.get(day)?.has(id) === true);
    const rows = days.map((day) => {
      const { image_count, video_count, avatar_count } = this.session(id, day).data;
      return { date: day, image_count, video_count, avatar_count };
    });
    return { success: true, data: { session_id: id, history: rows } };
  }

  range(from: string, to: string): Record<string, unknown> {
    const days = this.#newestFirst().filter((day) => day >= from && day <= to);
    const rows = days.map((day) => {
      const { data } = this.stats(day);
      return {
        date: day,
        active_sessions: data.active_sessions_today,
        total_images: data.total_images_today,
        total_videos: data.total_videos_today,
        total_avatars: data.total_avatars_today,
        avg_images: data.avg_images_per_session,
        avg_videos: data.avg_videos_per_session,
        avg_avatars: data.avg_avatars_per_session,
      };
    });
    return { success: true, data: { start_date: from, end_date: to, daily_stats: rows } };
  }

  #newestFirst(): string[] {
    return [...this.#days.keys()].sort().reverse();
  }

  /** Forgets the days before `day`; answers how many those were. */
  cleanup(day: string): number {
    const old = [...this.#days.keys()].filter((known) => known < day);
    for (const known of old) this.#days.delete(known);
    return old.length;
  }
}
