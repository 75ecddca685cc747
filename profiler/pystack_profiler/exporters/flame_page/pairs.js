// Maps pairs of small numbers to 1, 2, 3, ... in the order in which they are added. Building a tree spends its time here, and
// a Map with combined keys is much slower.

const SLOT = 4; // numbers in a slot, so that it is in one line of the processor's cache: first, second, number, nothing

class PairMap {
  /** `expected`: how many pairs there will be; there can be more. */
  constructor(expected = 1 << 10) {
    this.size = 0;
    this.#reserve(1 << Math.ceil(Math.log2(2 * expected + 2)));
  }

  /** The number of the pair. The pair is new if the number is larger than all before. */
  add(first, second) {
    if (2 * this.size > this.mask) this.#grow();
    const { slots } = this;
    const at = this.#find(first, second);
    if (slots[at + 2] === 0) {
      slots[at] = first;
      slots[at + 1] = second;
      slots[at + 2] = ++this.size;
    }
    return slots[at + 2];
  }

  #find(first, second) {
    const { slots, mask } = this;
    let hash = Math.imul(first ^ Math.imul(second, 0x9e3779b1), 0x85ebca6b);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = SLOT * slot;
      if (slots[at + 2] === 0 || (slots[at] === first && slots[at + 1] === second)) return at;
    }
  }

  #grow() {
    const old = this.slots;
    this.#reserve(2 * (this.mask + 1));
    for (let at = 0; at < old.length; at += SLOT) {
      if (old[at + 2] !== 0) this.slots.set(old.subarray(at, at + 3), this.#find(old[at], old[at + 1]));
    }
  }

  #reserve(count) {
    this.mask = count - 1;
    this.slots = new Int32Array(SLOT * count); // number 0: free
  }
}
