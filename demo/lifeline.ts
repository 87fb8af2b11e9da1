/**
 * A child holds the reading end of a pipe from its parent. The pipe ends when the parent does, however it ends
 * (SIGKILL included), so no child outlives it.
 */
export function exitWithParent(leave: () => void): void {
  process.stdin.on("end", leave);
  process.stdin.on("error", leave);
  process.stdin.resume();
}
