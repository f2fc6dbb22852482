#include "memory.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

namespace kvloom {
namespace {

constexpr uint64_t kBorder = 4096;  // that no burst crosses
constexpr uint8_t kRising = 1;
constexpr uint8_t kOkay = 0;
constexpr uint8_t kDecodeError = 3;

std::string hexadecimal(uint64_t number) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
    return text;
}

}  // namespace

Memory::Memory(std::size_t bytes, uint64_t base, unsigned word_bytes, const Timing& timing)
    : word_bytes_(word_bytes),
      base_(base),
      timing_(timing),
      bytes_(bytes),
      first_(base),
      last_(base + bytes - 1),
      random_(timing.seed) {}

void Memory::reset() {
    reads_.clear();
    writes_.clear();
    complete_ = 0;
    data_.clear();
    stalled_ = Master{};
    slave_ = Slave{};
}

void Memory::fail(uint64_t first, uint64_t last, uint8_t response) {
    failing_.push_back({first, last, response});
}

void Memory::confine(uint64_t first, uint64_t last) {
    first_ = first;
    last_ = last;
}

const Slave& Memory::edge(const Master& master) {
    check(master);
    stalled_ = master;
    stalled_.write_valid &= !slave_.write_ready;
    stalled_.data_valid &= !slave_.data_ready;
    stalled_.read_valid &= !slave_.read_ready;
    take_write(master);
    take_read(master);
    match();
    ++counters_.cycles;
    show();
    return slave_;
}

// What was shown and not taken must be shown until it is.
void Memory::check(const Master& master) {
    const Master& before = stalled_;
    if (before.write_valid && !(master.write_valid && master.write == before.write)) {
        violate("a write address changed while stalled");
    }
    if (before.read_valid && !(master.read_valid && master.read == before.read)) {
        violate("a read address changed while stalled");
    }
    const bool same = master.data_valid && master.enables == before.enables &&
                      master.data_last == before.data_last &&
                      std::memcmp(master.data, before.data, word_bytes_) == 0;
    if (before.data_valid && !same) violate("written data changed while stalled");
}

void Memory::check(const char* channel, const Burst& burst) {
    const uint64_t bytes = (burst.length + 1ull) << burst.size;
    const uint64_t last = burst.address + bytes - 1;
    const std::string where = std::string(channel) + " at " + hexadecimal(burst.address);
    if (burst.kind != kRising || 1u << burst.size != word_bytes_ || burst.address % word_bytes_) {
        violate(where + " is no burst of whole words at rising addresses");
    } else if (burst.address / kBorder != last / kBorder) {
        violate(where + " crosses a border of 4 KiB");
    } else if (burst.address < first_ || last > last_) {
        violate(where + " leaves the memory that is allowed");
    }
}

void Memory::take_write(const Master& master) {
    if (master.write_valid && slave_.write_ready) {
        check("a write", master.write);
        ++counters_.write_bursts;
        writes_.push_back({master.write, 0, {}});
    }
    if (master.data_valid && slave_.data_ready) {
        ++counters_.write_words;
        counters_.write_bytes += std::popcount(master.enables);
        allowance_ -= timing_.cycles;
        Data data{master.enables, master.data_last, {}};
        std::memcpy(data.bytes, master.data, word_bytes_);
        data_.push_back(data);
    }
    if (slave_.response_valid && master.response_ready) slave_.response_valid = false;
}

void Memory::take_read(const Master& master) {
    if (master.read_valid && slave_.read_ready) {
        check("a read", master.read);
        ++counters_.read_bursts;
        Read read{master.read, due(), 0, std::vector<uint8_t>((master.read.length + 1) * word_bytes_)};
        for (std::size_t at = 0; at < read.words.size(); at += word_bytes_) {
            const uint64_t address = read.burst.address + at;
            if (response(address) == kOkay) {
                std::memcpy(&read.words[at], &bytes_[address - base_], word_bytes_);
            }
        }
        reads_.push_back(std::move(read));
    }
    if (slave_.word_valid && master.word_ready) slave_.word_valid = false;
}

// Data and addresses of writes come in any order.
void Memory::match() {
    while (complete_ < writes_.size() && !data_.empty()) {
        Write& write = writes_[complete_];
        write.data.push_back(data_.front());
        data_.pop_front();
        const bool last = write.data.size() == write.burst.length + 1u;
        if (write.data.back().last != last) {
            violate("a write at " + hexadecimal(write.burst.address) + " ends early or late");
        }
        if (last) {
            write.due = due();
            ++complete_;
        }
    }
}

void Memory::show() {
    const int64_t most = int64_t{timing_.words} + timing_.cycles;
    allowance_ = std::min(allowance_ + timing_.words, most);
    const bool paused = counters_.cycles < paused_until_;
    const auto may = [&] { return !paused && !stalls(); };

    if (!slave_.word_valid && !reads_.empty() && reads_.front().due <= counters_.cycles &&
        allowance_ >= timing_.cycles && may()) {
        Read& read = reads_.front();
        const std::size_t at = std::size_t{read.beat} * word_bytes_;
        slave_.word_valid = true;
        slave_.word_response = response(read.burst.address + at);
        slave_.word_last = read.beat == read.burst.length;
        std::memcpy(slave_.word, &read.words[at], word_bytes_);
        allowance_ -= timing_.cycles;
        ++counters_.read_words;
        ++read.beat;
        if (slave_.word_last) reads_.pop_front();
    }
    if (!slave_.response_valid && complete_ && writes_.front().due <= counters_.cycles && may()) {
        slave_.response_valid = true;
        slave_.response = store(writes_.front());
        writes_.pop_front();
        --complete_;
    }
    slave_.read_ready = reads_.size() < timing_.outstanding && may();
    slave_.write_ready = writes_.size() < timing_.outstanding && may();
    slave_.data_ready = allowance_ >= 0 && data_.size() < timing_.outstanding && may();
}

uint8_t Memory::store(const Write& write) {
    uint8_t worst = kOkay;
    uint64_t address = write.burst.address;
    for (const Data& data : write.data) {
        const uint8_t answer = response(address);
        worst = std::max(worst, answer);
        for (unsigned byte = 0; answer == kOkay && byte < word_bytes_; ++byte) {
            if (data.enables >> byte & 1) bytes_[address - base_ + byte] = data.bytes[byte];
        }
        address += word_bytes_;
    }
    return worst;
}

// To an access to the word at an address.
uint8_t Memory::response(uint64_t address) const {
    const uint64_t last = address + word_bytes_ - 1;
    if (address < base_ || last - base_ >= bytes_.size()) return kDecodeError;
    for (const Range& range : failing_) {
        if (last >= range.first && address <= range.last) return range.response;
    }
    return kOkay;
}

uint64_t Memory::due() {
    const int64_t spread = timing_.spread;
    const int64_t random = spread ? static_cast<int64_t>(random_() % (2 * spread + 1)) - spread : 0;
    return counters_.cycles + std::max<int64_t>(1, int64_t{timing_.latency} + random);
}

bool Memory::stalls() { return timing_.stalls && random_() % 256 < timing_.stalls; }

void Memory::violate(const std::string& what) {
    if (violation_.empty()) violation_ = "cycle " + std::to_string(counters_.cycles) + ": " + what;
}

}  // namespace kvloom
