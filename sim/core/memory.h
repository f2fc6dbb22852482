// Memory behind an AXI4 port (ARM IHI 0022): what it answers, when, and what a master must not do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace kvloom {

constexpr std::size_t kMostBytes = 64;  // of a word

// simulation.py has the same structure.
struct Timing {
    uint32_t latency;      // cycles from an address to its first word, and from data to its response; at least 1
    uint32_t spread;       // each latency is up to so many cycles longer or shorter
    uint32_t words;        // read and written together, at most `words` in `cycles` cycles
    uint32_t cycles;
    uint32_t outstanding;  // bursts of each kind that are taken before the first one is answered
    uint32_t stalls;       // of 256 cycles, in how many a channel is not ready, or shows nothing new
    uint64_t seed;
};

// simulation.py has the same structure.
struct Counters {
    uint64_t cycles, read_words, write_words, write_bytes, read_bursts, write_bursts;
};

// What a master asks for.
struct Burst {
    uint64_t address;
    uint8_t length;  // beats less one
    uint8_t size;    // logarithm of the bytes of a beat
    uint8_t kind;    // 1 for addresses that rise

    bool operator==(const Burst&) const = default;
};

// What the master shows in a cycle.
struct Master {
    bool write_valid, data_valid, response_ready, read_valid, word_ready;
    Burst write, read;
    bool data_last;
    uint64_t enables;
    uint8_t data[kMostBytes];
};

// What the memory shows in a cycle.
struct Slave {
    bool write_ready, data_ready, response_valid, read_ready, word_valid;
    uint8_t response;
    uint8_t word_response;
    bool word_last;
    uint8_t word[kMostBytes];
};

// A read sees the memory as it was when its address was taken, a write is seen when its response is shown:
// the least helpful order that AXI4 allows, so that a master which does not wait for responses is found.
class Memory {
public:
    Memory(std::size_t bytes, uint64_t base, unsigned word_bytes, const Timing& timing);

    // A clock edge: takes what both sides showed before it, returns what the memory shows behind it.
    const Slave& edge(const Master& master);

    // Forgets whatever was asked for, as in a reset of the whole system.
    void reset();

    // Accesses to bytes first..last are answered with an AXI response, 2 SLVERR or 3 DECERR, and do nothing.
    void fail(uint64_t first, uint64_t last, uint8_t response);

    // Accesses to other bytes than first..last are violations; until then to bytes that there are not.
    void confine(uint64_t first, uint64_t last);

    // Shows nothing new and takes nothing for so many cycles.
    void pause(uint64_t cycles) { paused_until_ = counters_.cycles + cycles; }

    const Slave& shown() const { return slave_; }
    uint8_t* bytes() { return bytes_.data(); }
    const Counters& counters() const { return counters_; }
    const std::string& violation() const { return violation_; }  // the first one; empty if there is none

private:
    struct Range {
        uint64_t first, last;
        uint8_t response;
    };
    struct Read {
        Burst burst;
        uint64_t due;
        unsigned beat;
        std::vector<uint8_t> words;
    };
    struct Data {
        uint64_t enables;
        bool last;
        uint8_t bytes[kMostBytes];
    };
    struct Write {
        Burst burst;
        uint64_t due;
        std::vector<Data> data;
    };

    void check(const Master& master);
    void check(const char* channel, const Burst& burst);
    void take_write(const Master& master);
    void take_read(const Master& master);
    void match();
    void show();
    uint8_t store(const Write& write);
    uint8_t response(uint64_t address) const;
    uint64_t due();
    bool stalls();
    void violate(const std::string& what);

    const unsigned word_bytes_;
    const uint64_t base_;
    const Timing timing_;
    std::vector<uint8_t> bytes_;
    uint64_t first_, last_;
    std::vector<Range> failing_;
    std::mt19937_64 random_;
    std::deque<Read> reads_;
    std::deque<Write> writes_;
    std::size_t complete_ = 0;  // of them, those that only wait for their response
    std::deque<Data> data_;     // of the writes behind those
    int64_t allowance_ = 0;     // words that may pass, times `cycles`
    uint64_t paused_until_ = 0;
    Master stalled_{};          // what the master showed and the memory has not taken yet
    Slave slave_{};
    Counters counters_{};
    std::string violation_;
};

}  // namespace kvloom
