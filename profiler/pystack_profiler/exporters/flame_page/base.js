// What per cents are of: the recording's time, or that of the one chosen thread. Never the sum of several threads.

class Base {
  /** `time` in microseconds, `words`: whose it is, `units`: what has more of it if there are several. */
  constructor(time, words, units = "threads") {
    this.time = time;
    this.words = words;
    this.units = units;
  }

  /** For the chosen threads (indices). */
  static of(recording, chosen) {
    if (chosen.size !== 1) return new Base(recording.time, recording.timeInWords);
    const [only] = chosen;
    return new Base(recording.threads[only].time, `the time of ${recording.threads[only].title}`);
  }

  static ofTasks(recording) {
    return new Base(recording.time, recording.timeInWords, "tasks");
  }

  /** `57.0 %`; the average number of threads or tasks if that is more than one: `2.1 threads`. */
  share(time) {
    const share = this.time > 0 ? time / this.time : 0;
    return share > 1.005 ? `${share.toFixed(share < 9.95 ? 1 : 0)} ${this.units}` : formatShare(Math.min(time, this.time), this.time);
  }

  get explanation() {
    return `100 % = ${this.words}, ${formatTime(this.time)}`;
  }
}
