"""SHA-256s of TF-Slim's published archives, which TF-Slim itself did not publish.

Source: the recipes of Renesas' layer for Yocto (https://github.com/renesas-rz/meta-renesas-ai,
recipes-benchmark/models/models-tensorflow-lite.bb), which downloads the same addresses.
"""

from __future__ import annotations

SHA256 = {
    'mobilenet_v1_1.0_224.tgz':
        '1ccb74dbd9c5f7aea879120614e91617db9534bdfaa53dfea54b7c14162e126b',
    'mobilenet_v1_1.0_192.tgz':
        'ad683fb270cd1b0f49c820c4acf5fcbbfa546ae354b1345a4fff5f19f99d7c44',
    'mobilenet_v1_1.0_160.tgz':
        '1f612ebeda0e7e149897273c445b790ca8924a8a1488e6a61d36166a562fd89c',
    'mobilenet_v1_1.0_128.tgz':
        'd16f3102c1cb087eacf94c6a5abf0477767158fb891b2710409472bca4d988a8',
    'mobilenet_v1_0.75_224.tgz':
        'bf61b3ce7ca2d045bb35fa6ab9a68732e3531291266db4a8c7715227d7425657',
    'mobilenet_v1_0.75_192.tgz':
        '3d91d279cd06c055500aabdff8dfbd51a63797c7bb6b3f9a39e243f7c13997e9',
    'mobilenet_v1_0.75_160.tgz':
        '90b3f26406a89df489373358aa89d9db7bcb66d2400160f16f3687f79e4f66b2',
    'mobilenet_v1_0.75_128.tgz':
        '54a28065f6f230d0b71cf8fbbc50bbb89b4fdfada8e7e2a622da68b971d5ab97',
    'mobilenet_v1_0.5_224.tgz':
        '0eb9be8d18dcf9466a2a2d2157e71c83cd70dc168255d76d72bfe965318db725',
    'mobilenet_v1_0.5_192.tgz':
        '57c81cc48349d1079377f8cdeed3f017500aeb98a12f16c6ed2086a50848ecb6',
    'mobilenet_v1_0.5_160.tgz':
        'fb01b76ca1fb053e5f98d297e21c6c53d0d9f6a8b02ad2e88ac22b33b2adf729',
    'mobilenet_v1_0.5_128.tgz':
        '5a0def0d844327526385b110cdcaa6428d0828ff6d07515ef25bf3976e049d88',
    'mobilenet_v1_0.25_224.tgz':
        'eee166d4d1de004e2ee5de19a4f5045574d764ef59569dc284545f805a295074',
    'mobilenet_v1_0.25_192.tgz':
        '4889d7afabc31011f5218f6111532947ff7d5b6b9368afe1f152c67c6f30ea73',
    'mobilenet_v1_0.25_160.tgz':
        '8eb4540af0227e5e59849c41ca6da6f07e257cca887ec0f8cd33aeb46f1405cf',
    'mobilenet_v1_0.25_128.tgz':
        '34c52de7562259f66399993ef5ea222cc625d2e6f6f886a01fdc6cc99a0c7ee6',
    'mobilenet_v2_1.4_224.tgz':
        'a20d0c8d698502dc6a620528871c97a588885df7737556243a3412b39fce85e0',
    'mobilenet_v2_1.0_224.tgz':
        '318084bc1b63d6d7b854553e09cdf77078b1c0168be27c59a0d44253b5ed49dc',
    'mobilenet_v2_1.0_192.tgz':
        'e8d9cd7c571f375c80945b5f889705ae412db32d3419d747e796429e39132f48',
    'mobilenet_v2_1.0_160.tgz':
        'e374bc70066dde0c3af6cb4c98ecd8707800d71d11353c4cc359b3069415f23e',
    'mobilenet_v2_1.0_128.tgz':
        'f692e341cf1529df4f7e68ed13d0284ad8796ade1108f802eec135abc1fc1b83',
    'mobilenet_v2_1.0_96.tgz':
        '8f0377b71d79f5626c5198f248b476d2604b3e4e596ca4076e1b1f8fcd3f3844',
    'mobilenet_v2_0.5_224.tgz':
        '813febbdbe2a7a50055ee2f6b374938aed03e2f607f63f3479622aefc4e12b00',
    'mobilenet_v2_0.5_192.tgz':
        '5a344ed91cded5d420b6c65d47343ee60b43b570953b0feed4ee95451a679dd5',
    'mobilenet_v2_0.5_160.tgz':
        'f89c879b1a45c5d677ad7fe499f08a7854ef1772f0f5ae5d606afaaa87218e45',
    'mobilenet_v2_0.5_128.tgz':
        'ba078efd101c2308fb978467084f0ec12485ed8bfbb7695e477587b3272a1d66',
    'mobilenet_v2_0.5_96.tgz':
        '71a814047d7729bad711ae3e7db30e6c32999a1189f88d328b73939f7aa80d62',
    'mobilenet_v2_0.35_224.tgz':
        'efcc34277c52f7dd4b0b26c2f52686793f4ea5fdddc899ac5aac9eb8d5861550',
    'mobilenet_v2_0.35_192.tgz':
        '5dec603e2714a780c3cfc0656dac51bf2f4b354c4f7acda879ad5b6017f3f55b',
    'mobilenet_v2_0.35_160.tgz':
        'e579b5b50f47e88dc0c4390d20a396658b97457182f83905154a8a687ba15fa7',
    'mobilenet_v2_0.35_128.tgz':
        'c21a8f89e2e1a49e9002b1e1b871f3c92695ccb0cd64e7e7a21b71f2820beddb',
    'mobilenet_v2_0.35_96.tgz':
        '282996bca7d799d0172ce5d34ac59dea497c4c75f069a8b466bb944c6f843353',
    'v3-large_224_1.0_float.tgz':
        '9be8563f92022f412c82f2811d670888d6db998e2da9af3e71415fdde2f4f504',
    'v3-small_224_1.0_float.tgz':
        'e60ad9f450f892ae56f8b9122ffc750d88940d9e6b63f6dc70649179fb3a9065',
}
