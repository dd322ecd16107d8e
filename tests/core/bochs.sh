#!/usr/bin/env bash
# For `make avx512`: boots Debian's kernel in Bochs, which emulates AVX-512, and runs a program in it.
#
#     bochs.sh PROGRAM FOLDER [ARGUMENT ...]
#
# PROGRAM is linked statically. FOLDER takes the disc and what the machine printed.
set -euo pipefail
here=$(dirname "$(realpath "$0")") program=$(realpath "$1") folder=$2
shift 2
mkdir -p "$folder/disc/isolinux" "$folder/root"
cd "$folder"

kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2}')
[ -e "$kernel" ] || { apt-get download -qq "$kernel" 2>/dev/null && dpkg-deb -x "$kernel"_*.deb "$kernel"; }

cp "$program" root/program
cc -static -o root/init "$here/bochs_init.c"
(cd root && printf 'init\nprogram\n' | cpio -o --quiet -H newc | gzip -1) > disc/root.gz
cp "$kernel"/boot/vmlinuz-* disc/vmlinuz
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 disc/isolinux/
# Bochs 2.7 states another size for the compacted form of XSAVE than Linux expects.
cat > disc/isolinux/isolinux.cfg <<END
default linux
label linux
  kernel /vmlinuz
  append initrd=/root.gz console=ttyS0 quiet mitigations=off clearcpuid=xsaves,xsavec -- $*
END
genisoimage -quiet -o disc.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table disc

cat > bochsrc <<END
display_library: term
megs: 1024
cpu: model=corei7_skylake_x, count=1, ips=100000000
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=printed.txt
log: bochs.log
END
echo continue > commands  # Debian's Bochs begins in its debugger
rm -f printed.txt
TERM=vt100 script -qfc "bochs -q -f $PWD/bochsrc -rc commands" /dev/null > bochs.out 2>&1 < /dev/null &
machine=$!
trap 'pkill -9 -f "$PWD/bochsrc" || true' EXIT
until grep -aq "ended with status" printed.txt 2>/dev/null; do
    kill -0 $machine 2>/dev/null || { tail -c 2000 bochs.out >&2; exit 1; }
    sleep 2
done
tr -d '\r' < printed.txt
grep -aq "ended with status 0" printed.txt
