// Long work in slices, so that the page answers in between. Such work is a generator (its name is a participle: `made`): it yields
// how much it has done, in steps of its loops, and returns its result.

const CHUNK = 1 << 14; // steps between two looks at the clock
const AT_ONCE = 100_000; // steps that are done before the page is drawn: small recordings never wait
const SLICE_MS = 12;

/** Calls `work(from, to)` for parts of the numbers from `begin` up to `end`. `cost`: as long as so many usual steps of a loop. */
function* inChunks(begin, end, work, cost = 1) {
  const chunk = Math.ceil(CHUNK / cost);
  for (let from = begin; from < end; from += chunk) {
    const to = Math.min(end, from + chunk);
    work(from, to);
    yield cost * (to - from);
  }
}

/** As inChunks, with the last part first. */
function* inChunksBackwards(begin, end, work) {
  for (let to = end; to > begin; to -= CHUNK) {
    const from = Math.max(begin, to - CHUNK);
    work(from, to);
    yield to - from;
  }
}

/** Does all of some work, and returns its result. */
function finish(steps) {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** What a page is working on: one thing at a time. */
class Work {
  /** `onChange(isBusy)` is called when work goes on after the page was drawn, and when that ends. */
  constructor(onChange) {
    this.onChange = onChange;
    this.steps = null;
    this.isBusy = false;
  }

  /** Begins other work, in place of what was not finished. */
  start(steps) {
    if (this.steps !== null) this.steps.return();
    this.steps = steps;
    let count = 0;
    this.#run((done) => (count += done) < AT_ONCE);
  }

  /** Goes on at once until `isEnough()`, or to the end. */
  finish(isEnough = () => false) {
    this.#run(() => !isEnough());
  }

  #run(goesOn) {
    const { steps } = this;
    while (this.steps === steps && steps !== null) {
      const { done, value } = steps.next();
      if (done && this.steps === steps) this.steps = null;
      else if (!done && !goesOn(value)) break;
    }
    if (this.steps !== null && !this.isWaiting) {
      this.isWaiting = true;
      setTimeout(() => this.#next());
    }
    if (this.isBusy !== (this.steps !== null)) {
      this.isBusy = this.steps !== null;
      this.onChange(this.isBusy);
    }
  }

  #next() {
    this.isWaiting = false;
    const end = performance.now() + SLICE_MS;
    this.#run(() => performance.now() < end);
  }
}
