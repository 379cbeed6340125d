#!/usr/bin/env bash
# Builds, from Debian packages, everything that the virtual machines boot: a kernel with NFS and
# CIFS, an initramfs, and a disk image with servers, clients and runtimes. The library is copied
# into the running machines, so the image does not have to be rebuilt when the library changes.
#   image.sh DIR NODE DENO BUN     DIR: the output directory (about 3 GiB); then the executables
# Requires root, for debootstrap. Mounts nothing and changes nothing outside DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 node=$2 deno=$3 bun=$4
mkdir -p "$dir"
cd "$dir"

# Debian's "cloud" kernel: all file systems, few drivers.
if ! compgen -G "kernel/boot/vmlinuz-*" >/dev/null; then
  release=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -1)
  apt-get download "linux-image-$release"
  dpkg-deb -x linux-image-"$release"_*.deb kernel
fi
release=$(basename kernel/boot/vmlinuz-*)
release=${release#vmlinuz-}
modules=kernel/lib/modules/$release

if [[ ! -e root/.debootstrapped ]]; then
  # Use this machine's configured mirror.
  mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
    grep -oPm1 '^(URIs:|deb( \[.*\])?) *\K\S+/debian/?(?=\s|$)' || true)
  rm -rf root
  debootstrap --variant=minbase --include="nfs-kernel-server,nfs-common,cifs-utils,samba,iproute2,\
kmod,procps,util-linux,openssh-server,rpcbind,netbase" bookworm root $mirror
  touch root/.debootstrapped
fi
rm -rf root/lib/modules
# The home directory of the guest's root.
home=root/root
mkdir -p root/lib/modules "$home/.ssh" root/run/sshd root/opt/guest
cp -a "$modules" root/lib/modules/
chroot root depmod "$release"
rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/* root/usr/share/{doc,locale,man}

install -m 755 "$node" root/usr/local/bin/node
install -m 755 "$deno" root/usr/local/bin/deno
install -m 755 "$bun" root/usr/local/bin/bun
install -m 755 "$here"/guest/* root/opt/guest/

# busybox is init; it runs our boot script and then sshd.
[[ -e id ]] || ssh-keygen -q -t ed25519 -N '' -f id
host_key=root/etc/ssh/ssh_host_ed25519_key
[[ -e $host_key ]] || ssh-keygen -q -t ed25519 -N '' -f "$host_key"
cp id.pub "$home/.ssh/authorized_keys"
install -m 755 /bin/busybox root/bin/busybox
printf '%s\n' '::sysinit:/opt/guest/boot' '::respawn:/usr/sbin/sshd -D -e' > root/etc/inittab
printf '%s\n' 'PermitRootLogin yes' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'UseDNS no' 'UsePAM no' \
  'MaxStartups 100' 'MaxSessions 100' > root/etc/ssh/sshd_config
printf '%s\n' '127.0.0.1 localhost' '10.0.1.1 server' '10.0.1.2 a' '10.0.2.2 b' > root/etc/hosts

# The initramfs loads the virtio modules and switches to the disk.
virtio="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk"
rm -rf initrd
mkdir -p initrd/{bin,modules,proc,dev,new}
install -m 755 /bin/busybox initrd/bin/busybox
for module in $virtio; do
  cp "$(find "$modules" -name "$module.ko")" initrd/modules/
done
cat > initrd/init <<INIT
#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
for module in $virtio; do busybox insmod /modules/\$module.ko; done
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /new
busybox mount --move /dev /new/dev
exec busybox switch_root /new /bin/busybox init
INIT
chmod +x initrd/init
(cd initrd && find . | cpio -o -H newc --quiet | gzip -1) > initrd.gz

# Each machine writes to a snapshot of this image.
rm -f root.img root.part
mkfs.ext4 -q -d root root.part 3G
mv root.part root.img
