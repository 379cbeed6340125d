/** A value's place in a {@linkcode LinkedList}. */
export interface Place<T> {
  readonly value: T;
  previous: Place<T> | undefined;
  next: Place<T> | undefined;
  /** Whether the value is still in the list. */
  listed: boolean;
}

/**
 * A queue that supports removal from the middle. Adding and removing take constant time. With an
 * array, 100,000 waiters took 33 times as long as 10,000.
 */
export class LinkedList<T> {
  first: Place<T> | undefined;
  last: Place<T> | undefined;

  push(value: T): Place<T> {
    const place: Place<T> = { value, previous: this.last, next: undefined, listed: true };
    if (this.last === undefined) this.first = place;
    else this.last.next = place;
    return this.last = place;
  }

  /** Does nothing if the value has already been removed. */
  remove(place: Place<T>): void {
    if (!place.listed) return;
    place.listed = false;
    const { previous, next } = place;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let place = this.first; place !== undefined; place = place.next) yield place.value;
  }

  shift(): T | undefined {
    const { first } = this;
    if (first !== undefined) this.remove(first);
    return first?.value;
  }
}
