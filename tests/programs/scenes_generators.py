"""Generators and coroutines: running ones are on the stack, suspended ones are not."""

import asyncio
import types

from _truth import scene


@scene
def generator_running(gate):
    def numbers():
        yield 1
        gate.wait()
        yield 2

    running = numbers()
    next(running)
    next(running)


@scene
def generator_suspended(gate):
    def numbers():
        yield from (yield 1)

    suspended = numbers()
    next(suspended)
    gate.wait()
    return suspended


@scene
def generator_in_for(gate):
    def numbers():
        for number in range(3):
            if number == 2:
                gate.wait()
            yield number

    for number in numbers():
        print(end="")
    return number


@scene
def generator_in_c(gate):
    def numbers():
        yield 1
        gate.wait()

    def squares():
        return list(number * number for number in numbers())

    dict(enumerate(squares()))


@scene
def yield_from_chain(gate):
    def first():
        yield from second()

    def second():
        value = yield from third()
        yield value

    def third():
        yield 0
        gate.wait()

    chain = first()
    next(chain)
    next(chain)


@scene
def yield_from_deep(gate):
    def descend(depth):
        if depth:
            yield from descend(depth - 1)
        else:
            yield 1
            gate.wait()

    for _ in descend(100):
        pass


@scene
def generator_send(gate):
    def receiver():
        while True:
            value = yield
            if value == 3:
                gate.wait()

    running = receiver()
    next(running)
    running.send(1)
    running.send(3)


@scene
def generator_send_through_yield_from(gate):
    def outer():
        yield from inner()

    def inner():
        received = yield
        received.wait()

    running = outer()
    next(running)
    running.send(gate)


@scene
def generator_throw(gate):
    def outer():
        yield from inner()

    def inner():
        try:
            yield
        except KeyError:
            gate.wait()

    running = outer()
    next(running)
    running.throw(KeyError("thrown"))


@scene
def generator_close(gate):
    def outer():
        yield from inner()

    def inner():
        try:
            yield
        finally:
            gate.wait()

    running = outer()
    next(running)
    running.close()


@scene
def generator_dropped(gate):
    def cleaning():
        try:
            yield
        finally:
            gate.wait()

    running = cleaning()
    next(running)
    del running


@scene
def generator_suspended_in_except(gate):
    """What a suspended generator handles is not what its thread handles."""

    def handler():
        try:
            raise KeyError("inside")
        except KeyError:
            yield

    suspended = handler()
    next(suspended)
    gate.wait()
    return suspended


@scene
def generator_inside_except(gate):
    """A running generator sees what its caller handles."""

    def inside():
        gate.wait()
        yield

    try:
        raise ValueError("outside")
    except ValueError:
        next(inside())


@scene
def generator_calls_generator(gate):
    def inner():
        yield 1
        gate.wait()

    def outer(source):
        for value in source:
            yield value

    source = inner()
    next(outer(source))
    list(outer(outer(source)))


@scene
def coroutine_by_hand(gate):
    async def first():
        await second()

    async def second():
        return await Awaitable()

    class Awaitable:
        def __await__(self):
            yield 1
            gate.wait()

    running = first()
    running.send(None)
    running.send(None)


@scene
def coroutine_of_types(gate):
    @types.coroutine
    def decorated():
        yield
        gate.wait()

    async def awaits():
        await decorated()

    running = awaits()
    running.send(None)
    running.send(None)


@scene
def async_generator_by_hand(gate):
    async def numbers():
        yield 1
        await nothing()
        gate.wait()
        yield 2

    async def nothing():
        pass

    async def consume():
        async for number in numbers():
            print(end="")
        return number

    consume().send(None)


@scene
def async_generator_close(gate):
    async def numbers():
        try:
            yield 1
        finally:
            gate.wait()

    async def consume():
        running = numbers()
        await running.asend(None)
        await running.aclose()

    consume().send(None)


def run(main):
    """asyncio.run() is not there before 3.7, and this shows more of the loop's own frames
    anyway."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main)


@scene
def asyncio_await_chain(gate):
    async def first():
        await asyncio.sleep(0)
        await second()

    async def second():
        await asyncio.sleep(0)
        return await third()

    async def third():
        await asyncio.sleep(0)
        gate.wait()

    run(first())


@scene
def asyncio_task_running_among_others(gate):
    async def sleeper(event):
        await event.wait()

    async def last(event):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.wait()

    async def main():
        event = asyncio.Event()
        await asyncio.gather(sleeper(event), sleeper(event), last(event), asyncio.sleep(100))

    run(main())


@scene
def asyncio_async_for_and_with(gate):
    class Manager:
        async def __aenter__(self):
            await asyncio.sleep(0)
            return self

        async def __aexit__(self, kind, error, trace):
            await asyncio.sleep(0)
            async for _ in numbers():
                pass

    async def numbers():
        yield 1
        await asyncio.sleep(0)
        gate.wait()

    async def main():
        async with Manager():
            await asyncio.sleep(0)

    run(main())


@scene
def asyncio_comprehension(gate):
    async def numbers():
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    async def wait(number):
        await asyncio.sleep(0)
        if number == 1:
            gate.wait()

    async def main():
        return [await wait(number) async for number in numbers() if number]

    run(main())


@scene
def asyncio_callback(gate):
    def callback(way):
        way.wait()

    async def main():
        asyncio.get_event_loop().call_soon(callback, gate)
        await asyncio.sleep(100)

    run(main())


@scene
def asyncio_executor(gate):
    """An executor that runs what it gets at once, in the loop's own thread."""

    def in_executor():
        gate.wait()

    class Executor:
        def submit(self, function, *args):
            return function(*args)

    async def main():
        await asyncio.get_event_loop().run_in_executor(Executor(), in_executor)

    run(main())


@scene
def asyncio_exception_in_task(gate):
    async def fails():
        raise LookupError("in a task")

    async def main():
        try:
            await fails()
        except LookupError:
            await asyncio.sleep(0)
            gate.wait()

    run(main())
