// Parses the input as the notes of a core.

#include <span>

#include "driver.h"
#include "elf/core_notes.h"
#include "support/core_builder.h"

namespace {

using namespace pystack;

/// The notes of a core that CoreBuilder made: its first segment.
fuzz::Bytes notes_of(const testing::CoreBuilder& builder) {
    const fuzz::Bytes core = builder.build();
    Elf64_Phdr segment;
    std::memcpy(&segment, core.data() + sizeof(Elf64_Ehdr), sizeof segment);
    const auto notes = std::span(core).subspan(segment.p_offset, segment.p_filesz);
    return {notes.begin(), notes.end()};
}

}  // namespace

void pystack::fuzz::run(std::span<const std::byte> input) {
    elf::CoreNotes notes;
    WorkLimits limits;
    elf::CoreShares shares(limits);
    elf::parse_notes(input, notes, shares);
    // A core can have several segments of notes.
    elf::parse_notes(input.first(input.size() / 2), notes, shares);
    use(notes.aux(AT_PHDR));
    for (const elf::CoreFileMapping& file : notes.files) use(file.path.str());
    for (const elf::CoreThread& thread : notes.threads) use(thread.signal);
}

std::vector<pystack::fuzz::Bytes> pystack::fuzz::seeds() {
    testing::CoreBuilder crash;
    crash.add_thread(12, SIGSEGV);
    crash.add_process(11, "python", "python app.py");
    crash.add_fault(SIGSEGV, SEGV_MAPERR, 0x7ffd'0000'0000);
    crash.add_auxv({{AT_PHDR, 0x400040}, {AT_PHNUM, 4}, {AT_RANDOM, 0x7ffd'0000'0f00}});
    crash.add_files({{0x400000, 0x401000, 0, "/usr/bin/python3"},
                     {0x500000, 0x501000, 0, "/lib/old.so (deleted)"}});
    crash.add_thread(11, SIGSEGV);
    testing::CoreBuilder killed;
    killed.add_thread(7, SIGABRT);
    killed.add_sender(SIGABRT, SI_TKILL, 7, 1000);
    killed.add_files({{0x1000, 0x3000, 0, "/a"}, {0x3000, 0x4000, 2, "/a"}}, 1);
    return {notes_of(crash), notes_of(killed)};
}
