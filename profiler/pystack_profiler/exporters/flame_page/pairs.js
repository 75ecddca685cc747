// Maps pairs of small numbers to 1, 2, 3, ... in the order in which they are added. Building a tree spends its time here, and
// a Map with combined keys is much slower.

class PairMap {
  constructor() {
    this.size = 0;
    this.#reserve(1 << 12);
  }

  /** The number of the pair. The pair is new if the number is larger than all before. */
  add(first, second) {
    if (2 * this.size >= this.numbers.length) this.#grow();
    const slot = this.#slot(first, second);
    if (this.numbers[slot] === 0) {
      this.numbers[slot] = ++this.size;
      this.firsts[slot] = first;
      this.seconds[slot] = second;
    }
    return this.numbers[slot];
  }

  #slot(first, second) {
    const mask = this.numbers.length - 1;
    let hash = Math.imul(first ^ Math.imul(second, 0x9e3779b1), 0x85ebca6b);
    hash ^= hash >>> 15;
    let slot = hash & mask;
    while (this.numbers[slot] !== 0 && (this.firsts[slot] !== first || this.seconds[slot] !== second)) slot = (slot + 1) & mask;
    return slot;
  }

  #grow() {
    const { numbers, firsts, seconds } = this;
    this.#reserve(2 * numbers.length);
    for (let old = 0; old < numbers.length; old++) {
      if (numbers[old] === 0) continue;
      const slot = this.#slot(firsts[old], seconds[old]);
      this.numbers[slot] = numbers[old];
      this.firsts[slot] = firsts[old];
      this.seconds[slot] = seconds[old];
    }
  }

  #reserve(slots) {
    this.numbers = new Int32Array(slots); // 0: free
    this.firsts = new Int32Array(slots);
    this.seconds = new Int32Array(slots);
  }
}
