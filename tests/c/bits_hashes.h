/* SPDX-License-Identifier: Apache-2.0 */
/* What test_bits found once and expects ever after, on every machine: hashes of the results of its random cases with HUNZE_REPRODUCIBLE, per op and types,
 * in the order of its cases, NaN as all ones.  small: the fewer cases of emulators.  Numbers as in hunze_op and hunze_type. */
typedef struct recorded {
    hunze_op op;
    hunze_type a, b, d;
    bool small;
    uint64_t hash;
} recorded;

static const recorded recorded_hashes[] = {
    {1, 1, 1, 1, false, 0x433a16bb55f48fe8}, {1, 2, 2, 2, false, 0x1fb25208c386cda7},
    {1, 5, 4, 3, false, 0x1ef760a21cf7d4d2}, {1, 4, 4, 3, false, 0x7310c1da6bf601c1},
    {1, 5, 4, 1, false, 0xc33c5d87b5027d4e}, {1, 4, 4, 1, false, 0xc7c6bfe800b689be},
    {1, 5, 4, 5, false, 0xd3cddb62876ed878}, {1, 4, 4, 4, false, 0x80b1f2a96b2b4744},
    {1, 6, 6, 6, false, 0x1370fdd0b6b640d4}, {1, 7, 7, 7, false, 0x2416d578eae8b7c3},
    {1, 6, 6, 1, false, 0x30ebabf424620cea}, {1, 7, 7, 1, false, 0xe9e520bccbd6e94f},
    {2, 1, 1, 1, false, 0x89ed714de1efbdd3}, {2, 2, 2, 2, false, 0x58460354cb81386b},
    {2, 5, 4, 3, false, 0x862695dfd060d49d}, {2, 4, 4, 3, false, 0xd7f242e377fe0baa},
    {2, 5, 4, 1, false, 0x6dd55f5415a36096}, {2, 4, 4, 1, false, 0xe73f70fea5b92dd1},
    {2, 5, 4, 5, false, 0x30b21cb323d41f5a}, {2, 4, 4, 4, false, 0xfc72b1c6d10c6843},
    {3, 1, 1, 1, false, 0x80c7350cded748e4}, {3, 2, 2, 2, false, 0x9b91734276af53a7},
    {4, 1, 0, 5, false, 0xc802b558a789c0db}, {4, 1, 0, 4, false, 0x39b047f80e2a012f},
    {5, 5, 0, 1, false, 0x9228391037606ef8}, {5, 4, 0, 1, false, 0x0bda563997c2ba63},
    {7, 1, 0, 1, false, 0xc8765dd8d8a3709e}, {7, 2, 0, 2, false, 0x8044934bee5aec6b},
    {1, 1, 1, 1, true, 0x7a154caef55bd60e},  {1, 2, 2, 2, true, 0xddc32fa9bf254f85},
    {1, 5, 4, 3, true, 0x662fa9cdb5f546fe},  {1, 4, 4, 3, true, 0x207433e560a1e56b},
    {1, 5, 4, 1, true, 0x311875a251549c44},  {1, 4, 4, 1, true, 0x59f9238e3866b00c},
    {1, 5, 4, 5, true, 0x83f1d40ecafc0fc2},  {1, 4, 4, 4, true, 0x29690c3905093e65},
    {1, 6, 6, 6, true, 0xf480a985baea6c9c},  {1, 7, 7, 7, true, 0xb5a0294ddf15dea8},
    {1, 6, 6, 1, true, 0x921a4d2f5ea8c87f},  {1, 7, 7, 1, true, 0x3c5738bfef512017},
    {2, 1, 1, 1, true, 0xc8c1cde221c6041a},  {2, 2, 2, 2, true, 0x31569a94fa7061d0},
    {2, 5, 4, 3, true, 0x1cc7d1a674e4b3ac},  {2, 4, 4, 3, true, 0xe220aa71add9da84},
    {2, 5, 4, 1, true, 0xed20023ef2968c77},  {2, 4, 4, 1, true, 0xf47263f9ec55b847},
    {2, 5, 4, 5, true, 0x0d15ff311feeea0d},  {2, 4, 4, 4, true, 0x9c9e8a2725fa2611},
    {3, 1, 1, 1, true, 0x91e86e296a434660},  {3, 2, 2, 2, true, 0x58838d37b5c2c749},
    {4, 1, 0, 5, true, 0x80604beda25d08de},  {4, 1, 0, 4, true, 0xef72153228ea5020},
    {5, 5, 0, 1, true, 0x2bc0ac1dc6d7c013},  {5, 4, 0, 1, true, 0x9a06dfc54154b8b0},
    {7, 1, 0, 1, true, 0x21fa69b5022d9279},  {7, 2, 0, 2, true, 0x66c2356fa1e509e6},
    {1, 8, 8, 8, false, 0x60e2c4f01b45624a}, {1, 3, 3, 3, false, 0xe595155e35234da6},
    {1, 9, 9, 9, false, 0x8c82eefd2fe29791}, {1, 11, 11, 11, false, 0xc3a208dd4a28a96d},
    {1, 8, 8, 8, true, 0xe602ab946b0597dc},  {1, 3, 3, 3, true, 0x1796ebfb82688603},
    {1, 9, 9, 9, true, 0x3f61710e940512e9},  {1, 11, 11, 11, true, 0xa4ec8a70f112e123},
};
