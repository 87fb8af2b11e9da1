/** How long a request waits for one of the objects: it answers within milliseconds, unless it is being moved or is overloaded. */

export const objectPatienceMs = 3000;

/** null: not in time. What was asked goes on. */
export async function patiently<Reply>(asked: Promise<Reply>): Promise<Reply | null> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), objectPatienceMs);
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}
