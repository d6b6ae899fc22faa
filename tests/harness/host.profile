# What the tests' processes take the host for: so that none of them measures it, in the middle or at all.
wake_ns 30000
line_ns 80
page_ns 300
copy_256_mbps 16000
copy_4096_mbps 20000
copy_65536_mbps 12000
copy_1048576_mbps 9000
