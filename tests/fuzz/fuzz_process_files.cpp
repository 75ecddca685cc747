// Parses the input as each of the text files that the kernel writes about a process. Much in them
// is the process's choice: its name, the paths of what it maps.

#include <array>
#include <cstdlib>
#include <span>
#include <string_view>

#include "driver.h"
#include "elf/maps_parser.h"
#include "elf/module_map.h"
#include "process/proc_files.h"

using namespace pystack;

void fuzz::run(std::span<const std::byte> input) {
    const std::string_view text = text_of(input);
    const auto mappings = elf::parse_maps(text);
    const auto modules = elf::group_modules(mappings);
    RemoteAddr end{};
    for (const elf::Module& module : modules) {
        if (module.mappings.empty() || module.range().begin < end) std::abort();
        end = module.range().end;
        if (elf::find_module(modules, module.range().begin) != &module) std::abort();
    }
    for (const elf::Mapping& mapping : mappings)
        use(elf::find_mapping(mappings, mapping.range.end));
    use(process::parse_stat(text));
    use(process::parse_run_time_ns(text));
    use(process::parse_syscall(text));
    use(process::parse_blocked_at(text));
    for (const char* key : {"NSpid", "Tgid", "PPid", ""}) use(process::status_field(text, key));
    use(process::namespace_id(text));
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    static constexpr std::array<std::string_view, 7> kTexts = {
        "55d0c0a00000-55d0c0a21000 r--p 00000000 08:01 1234    /usr/bin/python3.11\n"
        "55d0c0a21000-55d0c0c00000 r-xp 00021000 08:01 1234    /usr/bin/python3.11\n"
        "55d0c0c00000-55d0c0c10000 rw-p 00200000 08:01 1234    /usr/bin/python3.11\n"
        "55d0c0c10000-55d0c0c50000 rw-p 00000000 00:00 0 \n"
        "55d0c1000000-55d0c1200000 rw-p 00000000 00:00 0       [heap]\n"
        "7f0000000000-7f0000001000 r--s 00000000 00:05 77      /dev/shm/a\\012b (deleted)\n"
        "7f0000001000-7f0000002000 ---p 00001000 08:01 99      (unreachable)/lib/x.so\n"
        "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0       [stack]\n"
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
        "4242 (a) Z (b) S 1 4242 4242 34816 4242 4194304 1 2 3 4 5 6 7 8 20 0 12 0 987654 1 2 3 4 "
        "5 "
        "6 7 8 9 10 11 12 13 14 17 3 0 0 0 0 0\n",
        "123456789 4242 17\n",
        "202 0x7f1200 0x189 0x0 0x0 0x0 0x0 0x7ffc10 0x7f1234\n",
        "-1 0x7ffc10 0x7f1234\n",
        "running\n",
        "Name:\tpython\nTgid:\t42\nPid:\t42\nPPid:\t1\nNSpid:\t42\t7\t1\nThreads:\t3\n",
    };
    std::vector<Bytes> seeds;
    for (const std::string_view text : kTexts) {
        const auto bytes = bytes_of(text);
        seeds.emplace_back(bytes.begin(), bytes.end());
    }
    return seeds;
}
